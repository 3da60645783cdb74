// Python, uvicorn and the step, off the page's own thread: a loop without an end can be ended.
import { loadPyodide } from "./runtime/pyodide.mjs";

const PYTHON = ["place.py", "network.py", "server.py"];
const at = (name) => new URL(name, import.meta.url).href;

// Pyodide only warns if its WebAssembly does not come, and then waits for ever. And not every host
// says of that file what it is.
const broken = new Promise((_, reject) => {
  const { instantiate, instantiateStreaming } = WebAssembly;
  WebAssembly.instantiateStreaming = async (source, imports) => {
    try {
      const response = await source;
      if (!response.ok) throw new Error(`${response.url}: ${response.status}`);
      if (response.headers.get("content-type") === "application/wasm")
        return await instantiateStreaming(response, imports);
      return await instantiate(await response.arrayBuffer(), imports);
    } catch (error) {
      reject(error);
      throw error;
    }
  };
});
broken.catch(() => {}); // it is met where it is waited for

let host;
const ready = boot();
ready.catch((error) => postMessage({ type: "broken", text: String(error) }));

async function boot() {
  const wanted = [load("runtime/packages.zip"), ...PYTHON.map(load)];
  wanted.forEach((file) => file.catch(() => {})); // a failure is met below, where it is awaited
  const loading = loadPyodide({ indexURL: at("runtime/"), stdout: print, stderr: print });
  const pyodide = await Promise.race([loading, broken]);
  const folder = pyodide.runPython("import site; site.getsitepackages()[0]");
  const [packages, ...sources] = await Promise.all(wanted);
  pyodide.unpackArchive(packages, "zip", { extractDir: folder });
  sources.forEach((source, i) =>
    pyodide.FS.writeFile(`${folder}/${PYTHON[i]}`, new Uint8Array(source)),
  );
  const Host = pyodide.runPython("import place, server; server.Host");
  host = Host((message) => postMessage(plain(message)));
  postMessage({ type: "ready" });
  return pyodide;
}

async function load(name) {
  const response = await fetch(at(name));
  if (!response.ok) throw new Error(`${name}: ${response.status}`);
  return response.arrayBuffer();
}

// What Python hands out, as what postMessage() takes.
function plain(value) {
  const made = value.toJs({ dict_converter: Object.fromEntries, create_pyproxies: false });
  value.destroy();
  return made;
}

// Python's traceback is not for the page.
const lastLine = (error) => error.message.trim().split("\n").at(-1);

// The output goes out at most twenty times a second, even out of a loop that never turns.
let text = "",
  printed = 0,
  due = 0;
function print(line) {
  text = `${text}${line}\n`.slice(-50_000);
  if (performance.now() - printed > 50) flush();
  else due ||= setTimeout(flush, 50);
}
function flush() {
  clearTimeout(due);
  due = 0;
  printed = performance.now();
  if (text) postMessage({ type: "output", text });
  text = "";
}

const orders = {
  ping: () => postMessage({ type: "pong" }),
  async run({ app, files, disk }) {
    const pyodide = await ready;
    const given = [pyodide.toPy(files), pyodide.toPy(disk)];
    try {
      const ok = await host.start(app, ...given);
      flush();
      postMessage({ type: ok ? "running" : "failed" });
    } catch (error) {
      flush();
      postMessage({ type: "broken", text: lastLine(error) });
    }
    for (const each of given) each?.destroy();
  },
  async stop() {
    await ready;
    const disk = plain(await host.stop());
    flush();
    postMessage({ type: "stopped", disk });
  },
  window({ window, port }) {
    const [sockets, requests] = [new Map(), new Map()];
    port.onmessage = async ({ data }) =>
      wishes[data.type](data, await ready, { window, port, sockets, requests });
  },
};
onmessage = ({ data }) => orders[data.type](data);

// What a window may wish for, by way of its port.
const wishes = {
  connect({ sid, path, protocols, headers }, pyodide, { window, port, sockets }) {
    const tell = (proxy) => {
      const message = plain(proxy);
      port.postMessage({ ...message, sid });
      if (message.type !== "close" && message.type !== "fail") return;
      sockets.get(sid)?.destroy();
      sockets.delete(sid);
    };
    try {
      sockets.set(
        sid,
        host.connect(window, path, pyodide.toPy(protocols), pyodide.toPy(headers), tell),
      );
    } catch {
      port.postMessage({ type: "fail", sid }); // no server runs
    }
  },
  send({ sid, data }, pyodide, { sockets }) {
    sockets.get(sid)?.send(typeof data === "string" ? data : pyodide.toPy(new Uint8Array(data)));
  },
  close: ({ sid, code, reason }, _, { sockets }) => sockets.get(sid)?.close(code, reason),
  leave: ({ sid }, _, { sockets }) => sockets.get(sid)?.leave(),
  taken: ({ sid }, _, { sockets }) => sockets.get(sid)?.line.taken(),
  cut: ({ sid }, _, { sockets }) => sockets.get(sid)?.line.cut(),
  async fetch({ id, method, path, headers, body }, pyodide, { window, port, requests }) {
    try {
      const request = host.request(window);
      requests.set(id, request);
      const content = pyodide.toPy(new Uint8Array(body ?? []));
      const answer = plain(await request.answer(method, path, pyodide.toPy(headers), content));
      const [status, statusText, pairs, answered] = answer;
      port.postMessage({ type: "fetched", id, status, statusText, headers: pairs, body: answered });
    } catch (error) {
      port.postMessage({ type: "fetched", id, error: lastLine(error) });
    }
    requests.get(id)?.destroy();
    requests.delete(id);
  },
  abort: ({ id }, _, { requests }) => requests.get(id)?.abort(),
};
