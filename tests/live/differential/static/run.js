"use strict";

// Plays all scenarios, or those that the address names, and leaves the result in the page.

async function run() {
  const only = new URLSearchParams(location.search).getAll("only");
  await fetch("/clear", { method: "POST" });
  await findBystander();
  const result = {};
  const times = {};
  for (const [name, play] of Object.entries(scenarios)) {
    if (only.length && !only.includes(name)) continue;
    document.title = name;
    const started = performance.now();
    const scenario = new Scenario(name);
    const done = (async () => {
      await play(scenario);
      return scenario.log();
    })();
    const late = new Promise((resolve) => setTimeout(resolve, LIMIT));
    try {
      result[name] = (await Promise.race([done, late])) ?? (await ended(scenario, "it hangs"));
    } catch (error) {
      result[name] = await ended(scenario, `it fails: ${error.stack}`);
    }
    times[name] = Math.round(performance.now() - started);
  }
  document.querySelector("#log").textContent = JSON.stringify(result, null, 1);
  window.times = times;
  document.title = "done";
}

/** Ends a scenario that went wrong, so that the next one finds all as it should be. */
async function ended(scenario, why) {
  for (const { socket } of scenario.clients) socket.close();
  await hurt("fast");
  return { page: [...(await scenario.seen()), why], app: [] };
}

if (client?.dataset.client === "2") document.title = "bystander";
else run();
