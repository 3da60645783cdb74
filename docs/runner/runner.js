// Runs a step in its page:
// <fastapi-runner app="steps.step01_echo.main:app" src="…" clients="/ /" command="make run STEP=1">
// `src` has the app's files, by their paths in its folder; `command` runs the same elsewhere.
import { button, element } from "./dom.js";
import { createEditor } from "./editor.js";
import { Output, Wire } from "./logs.js";
import { Machine } from "./machine.js";
import { Windows } from "./windows.js";

const BLOCKED =
  "The event loop is blocked: no client is served. It may come back; Stop ends it in any case.";
let active = null; // one at a time: a machine takes some 150 MB
let built = 0;

// What the button of the page calls, as soon as all this is loaded.
export const start = (runner) => runner.run();

class FastAPIRunner extends HTMLElement {
  #machine = null;
  #original = {};
  #files = {};
  #disk; // what the server had written into files when it was stopped
  #shown = "";
  #say = this.querySelector(".status");

  connectedCallback() {
    // From here on it is this element that answers the button.
    const run = this.querySelector(".run");
    run.removeAttribute("onclick");
    run.onclick = () => this.run();
  }

  // Instant navigation takes the page and its windows away, and nobody would stop the machine.
  disconnectedCallback() {
    this.#machine?.kill();
    this.#machine = null;
    if (active === this) active = null;
  }

  // Runs what is in the editor, for new windows; after Stop, for those that are open.
  async run() {
    if (this.dataset.state === "starting") return;
    const stays = this.dataset.state === "stopped";
    try {
      this.#become("starting", "Starting Python…");
      if (!this.editor) await this.#build();
      if (!this.isConnected) return; // the page was turned meanwhile
      // A page that comes back by itself would meet the new server before it is loaded anew.
      if (!stays) this.windows.unload();
      this.output.clear();
      this.wire.clear();
      const machine = this.#running();
      await machine.ready;
      if (machine !== this.#machine) return; // stopped meanwhile
      this.#become("starting", "Starting the server…");
      const disk = this.#disk;
      this.#disk = undefined; // from here on it is the machine's
      const runs = await machine.run(this.getAttribute("app"), this.#files, disk);
      if (machine !== this.#machine) return;
      if (!runs) return this.#become("failed", "It did not start: the server log says why.");
      this.#become("running", "Running.");
      const paths = this.getAttribute("clients").split(" ");
      if (this.windows.none) paths.forEach((path) => this.windows.open(path));
      else this.windows.load(stays);
    } catch (error) {
      this.#kill();
      this.#become(
        "broken",
        `It cannot run here (${error.message}). On your machine: ${this.getAttribute("command")}`,
      );
    }
  }

  // As Ctrl+C; and if that does not help, or is not waited for, as pulling the plug.
  async stop() {
    const machine = this.#machine;
    if (this.dataset.state === "running") {
      this.#become("starting", "Stopping…");
      this.#disk = await machine.stop();
    }
    if (machine && machine === this.#machine)
      this.#end("Stopped. What the windows show stays, as in a browser.");
  }

  // The machine that is there, unless it hangs; else a new one, and whoever else has one loses it.
  #running() {
    if (this.dataset.state === "blocked") this.#kill();
    if (this.#machine) return this.#machine;
    active?.#end("Stopped: another step runs.");
    active = this;
    let before;
    const machine = new Machine({
      output: ({ text }) => this.output.write(text),
      journal: ({ rows }) => this.wire.write(rows),
      blocked: () => {
        before = [this.dataset.state, this.#say.textContent];
        this.#become("blocked", BLOCKED);
      },
      turning: () => this.dataset.state === "blocked" && this.#become(...before),
    });
    this.#machine = machine;
    this.windows.plug();
    return machine;
  }

  #end(text) {
    this.#kill();
    this.#become("stopped", text);
  }

  #kill() {
    this.#machine?.kill();
    this.#machine = null;
    this.windows?.unplug();
    if (active === this) active = null;
  }

  #become(state, text) {
    this.dataset.state = state;
    this.#say.textContent = text;
    const [run, stop] = [this.querySelector(".run"), this.querySelector(".stop")];
    run.textContent = state === "running" ? "Run again" : "Run";
    // Not `disabled`: that takes the focus away from who has just pressed the button.
    run.setAttribute("aria-disabled", String(state === "starting"));
    stop?.setAttribute(
      "aria-disabled",
      String(!["starting", "running", "blocked", "failed"].includes(state)),
    );
  }

  // Once, at the first run: before that the page has only a button and a sentence.
  async #build() {
    const response = await fetch(this.getAttribute("src"));
    if (!response.ok) throw new Error(`${this.getAttribute("src")}: ${response.status}`);
    this.#original = await response.json();
    this.#files = { ...this.#original };
    await this.#loadStyle();
    const folder = this.getAttribute("app").split(".").slice(0, -1).join("/");
    this.output = new Output(folder, (file, line) => this.#show(file, line));
    this.wire = new Wire();
    this.windows = new Windows(
      (number) => this.#machine?.connect(number) ?? null,
      (text) => this.output.write(`${text}\n`),
    );
    const [path] = this.getAttribute("clients").split(" ");
    // The first ones come by themselves.
    const open = () => this.windows.opened && this.windows.open(path);
    const id = `runner-code-${++built}`;
    const code = element("div", { class: "code", role: "tabpanel", id });
    this.tabs = element(
      "div",
      { role: "tablist", "aria-label": "Files", onkeydown: (event) => this.#turn(event) },
      ...Object.keys(this.#files).map((name) =>
        element(
          "button",
          { type: "button", role: "tab", "aria-controls": id, onclick: () => this.#show(name) },
          name,
        ),
      ),
    );
    const run = this.querySelector(".run");
    const focused = document.activeElement === run; // which it loses where it is moved
    this.replaceChildren(
      this.querySelector("link"),
      element(
        "div",
        { class: "bar" },
        run,
        button("stop", "Stop", () => this.stop()),
        button("reset", "Original", () => this.#reset(), { title: "All files as they were" }),
        button("add", "New window", open),
        this.#say,
      ),
      this.windows.element,
      ...(this.hasAttribute("request") ? [this.#requestForm()] : []),
      element(
        "div",
        { class: "editor" },
        this.tabs,
        code,
        element("p", { class: "keys" }, "Ctrl+Enter runs. Tab indents; Esc, then Tab, leaves."),
      ),
      element("div", { class: "logs" }, this.output.element, this.wire.element),
    );
    this.editor = createEditor(code, {
      onChange: (text) => this.#change(text),
      onRun: () => this.run(),
    });
    this.#show(Object.keys(this.#files)[0]);
    if (focused) run.focus({ preventScroll: true });
  }

  #loadStyle() {
    return new Promise((settle, reject) => {
      const href = new URL("runner.css", import.meta.url);
      const fail = ({ target }) => {
        target.remove();
        reject(new Error("runner.css does not come"));
      };
      this.append(element("link", { rel: "stylesheet", href, onload: settle, onerror: fail }));
    });
  }

  // Opens a file in the editor, at a line of it if one is named.
  #show(name, line) {
    if (!(name in this.#files)) return;
    if (name !== this.#shown) this.editor.show(name, this.#files[name]);
    this.#shown = name;
    for (const tab of this.tabs.children) {
      tab.setAttribute("aria-selected", String(tab.textContent === name));
      tab.tabIndex = tab.textContent === name ? 0 : -1;
    }
    if (!line) return;
    this.editor.reveal(line);
    this.editor.focus();
  }

  // From tab to tab, as in the ARIA Authoring Practices.
  #turn(event) {
    const tabs = [...this.tabs.children];
    const at = tabs.indexOf(event.target);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: -1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const tab = tabs.at(to % tabs.length);
    tab.focus();
    tab.click();
  }

  #change(text) {
    this.#files[this.#shown] = text;
    for (const tab of this.tabs.children) {
      tab.toggleAttribute(
        "data-changed",
        this.#files[tab.textContent] !== this.#original[tab.textContent],
      );
    }
  }

  #reset() {
    this.#files = { ...this.#original };
    this.#disk = {};
    this.editor.show(this.#shown, this.#files[this.#shown]);
    this.#change(this.#files[this.#shown]);
  }

  // For what no page of the step does: a request as `curl` would send it.
  #requestForm() {
    const field = element("input", {
      "aria-label": "Request",
      value: this.getAttribute("request"),
      spellcheck: "false",
    });
    const answer = element("output");
    const send = async (event) => {
      event.preventDefault();
      const [, method, path, body] = /^([A-Z]+) (\/\S*) ?(.*)$/.exec(field.value) ?? [];
      if (!method)
        answer.textContent = "Write a method, a path and, if you like, JSON: POST /path {}";
      else if (!this.#machine) answer.textContent = "No server runs: press Run.";
      else answer.textContent = await this.#request(method, path, body);
    };
    return element(
      "form",
      { class: "request", onsubmit: send },
      field,
      element("button", {}, "Send request"),
      answer,
    );
  }

  async #request(method, path, body) {
    const port = this.#machine.connect(0);
    const headers = body ? [["content-type", "application/json"]] : [];
    const {
      status,
      body: content,
      error,
    } = await new Promise((settle) => {
      port.onmessage = ({ data }) => settle(data);
      port.postMessage({
        type: "fetch",
        id: 0,
        method,
        path,
        headers,
        body: new TextEncoder().encode(body),
      });
    });
    port.close();
    return error ?? `${status} ${new TextDecoder().decode(content)}`;
  }
}

customElements.define("fastapi-runner", FastAPIRunner);
