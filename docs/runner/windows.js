// The windows of the clients, each with the step's own page in it, and what can be done to them.
import { Cookies } from "./cookies.js";
import { button, element } from "./dom.js";

const JUNK = "junk";
const BINARY = new Uint8Array([0, 255]);

export class Windows {
  #opened = 0;
  #windows = [];

  // `connect` gives a window's number its port to the server; `report` is told of a page's errors.
  constructor(connect, report) {
    this.element = element("div", { class: "clients" });
    this.connect = connect;
    this.report = report;
  }

  get none() {
    return !this.#windows.length;
  }

  get opened() {
    return this.#opened > 0;
  }

  open(path) {
    const opened = new Window(++this.#opened, path, this);
    this.#windows.push(opened);
    this.element.append(opened.element);
    opened.load();
  }

  forget(closed) {
    this.#windows = this.#windows.filter((other) => other !== closed);
  }

  // All of them, or those alone that show nothing: they were emptied for a start that failed.
  load(onlyEmpty = false) {
    for (const each of this.#windows) if (!onlyEmpty || !each.frame?.isConnected) each.load();
  }

  unload() {
    for (const each of this.#windows) each.unload();
  }

  // The server is gone without a word: every line ends.
  unplug() {
    for (const each of this.#windows) each.controls?.unplug();
  }

  // There is a new one. What the pages make of it is their own affair.
  plug() {
    for (const each of this.#windows) each.controls?.plug(this.connect(each.number));
  }
}

class Window {
  // Of its own: two windows are two people.
  #keeps = { cookies: new Cookies(), localStorage: new Map(), sessionStorage: new Map() };

  constructor(number, path, all) {
    Object.assign(this, { number, path, all });
    const name = `Client ${number}`;
    this.slow = button("slow", "Slow", () => this.#toggle(), {
      "aria-pressed": "false",
      title: "Takes a message every two seconds, and after eight the server has to wait",
    });
    this.element = element(
      "section",
      { class: "client", "data-client": number, "aria-label": name },
      element(
        "header",
        {},
        element("b", { class: "name" }, name),
        element("code", {}, path),
        button("reload", "Reload", () => this.load()),
        button("close", "Close", () => this.#close()),
      ),
      element(
        "p",
        { class: "hurt" },
        button("cut", "Cut the line", () => this.controls?.cut(), {
          title: "A TCP reset: no close frame, no goodbye",
        }),
        this.slow,
        button("binary", "Send binary", () => this.controls?.send(BINARY), {
          title: "The bytes 00 ff",
        }),
        button("junk", "Send junk", () => this.controls?.send(JUNK), {
          title: "The text junk, which is no JSON",
        }),
      ),
    );
  }

  // Always in a new frame: the old one would leave an entry in the browser's history.
  load() {
    this.unload();
    const frame = element("iframe", {
      title: `Page of client ${this.number}`,
      src: new URL("frame.html", import.meta.url),
    });
    frame.onload = () => {
      frame.onload = null; // what the step's page loads is another matter
      const report = (text) => this.all.report(`Client ${this.number}: ${text}`);
      const { start } = frame.contentWindow;
      if (!start) return report("its page could not be loaded: press Reload");
      this.controls = start(this.all.connect(this.number), this.path, this.#keeps, report);
      this.controls.slow(this.#isSlow);
    };
    this.frame = frame;
    this.element.append(frame);
  }

  // Says goodbye first: what a frame says while it is removed does not always arrive.
  unload() {
    this.controls?.leave();
    this.controls = null;
    this.frame?.remove();
  }

  get #isSlow() {
    return this.slow.getAttribute("aria-pressed") === "true";
  }

  #toggle() {
    this.slow.setAttribute("aria-pressed", String(!this.#isSlow));
    this.controls?.slow(this.#isSlow);
  }

  #close() {
    this.all.forget(this);
    this.unload();
    this.element.remove();
    // Where its button has been is nothing that could have the focus.
    this.all.element.closest("fastapi-runner").querySelector(".add").focus({ preventScroll: true });
  }
}
