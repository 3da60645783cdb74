// What the server says, and what passes on the lines. Both are drawn once a frame, whatever comes.
import { button, element } from "./dom.js";

const ROWS = 300;
const LETTERS = 50_000;

// Whoever has scrolled up reads, and is not to be pulled away.
const atEnd = ({ scrollHeight, scrollTop, clientHeight }) =>
  scrollHeight - scrollTop - clientHeight < 50;

// The server's output. `reveal` opens a file of the app's folder at a line.
export class Output {
  #pending = "";
  #length = 0;

  constructor(folder, reveal) {
    this.element = element("pre", {
      class: "output",
      role: "log",
      tabindex: 0,
      "aria-label": "Server log",
    });
    this.place = new RegExp(`File "${folder}/([^"]+)", line (\\d+)`);
    this.reveal = reveal;
  }

  write(text) {
    if (!this.#pending) requestAnimationFrame(() => this.#draw());
    this.#pending = (this.#pending + text).slice(-LETTERS);
  }

  clear() {
    this.#pending = "";
    this.#length = 0;
    this.element.replaceChildren();
  }

  #draw() {
    const [text, parts] = [this.#pending, []];
    this.#pending = "";
    this.#length += text.length;
    let rest = text,
      found;
    while ((found = this.place.exec(rest))) {
      const [whole, file, line] = found;
      parts.push(
        rest.slice(0, found.index),
        button("place", whole, () => this.reveal(file, Number(line))),
      );
      rest = rest.slice(found.index + whole.length);
    }
    const follow = atEnd(this.element);
    this.element.append(...parts, rest);
    while (this.#length > LETTERS && this.element.childNodes.length > 1) {
      this.#length -= this.element.firstChild.textContent.length;
      this.element.firstChild.remove();
    }
    if (follow) this.element.scrollTop = this.element.scrollHeight;
  }
}

// Frames, as they are on the line, and ASGI events, as they are between uvicorn and the app.
export class Wire {
  #pending = [];

  constructor() {
    this.list = element("ol", { class: "wire", tabindex: 0, "aria-label": "Frames and events" });
    const choice = (kind, text, checked) =>
      element("label", {}, element("input", { type: "checkbox", value: kind, checked }), text);
    this.element = element(
      "div",
      { class: "journal" },
      element(
        "p",
        { class: "choices" },
        choice("frame", "Frames", true),
        choice("asgi", "ASGI events", true),
        choice("http", "of HTTP, too", false),
      ),
      this.list,
    );
  }

  write(rows) {
    if (!this.#pending.length) requestAnimationFrame(() => this.#draw());
    this.#pending = [...this.#pending, ...rows].slice(-ROWS);
  }

  clear() {
    this.#pending = [];
    this.list.replaceChildren();
  }

  #draw() {
    const rows = this.#pending;
    this.#pending = [];
    const follow = atEnd(this.list);
    this.list.append(...rows.map(row));
    while (this.list.childElementCount > ROWS) this.list.firstElementChild.remove();
    if (follow) this.list.scrollTop = this.list.scrollHeight;
  }
}

function row({ kind, window, way, text, at }) {
  const time = new Date(at - new Date(at).getTimezoneOffset() * 60_000).toISOString().slice(11, 23);
  const who = window ? `Client ${window} ` : "";
  const data = { "data-kind": kind, "data-client": window, "data-way": way };
  return element(
    "li",
    data,
    element("time", {}, time),
    ` ${who}${way === "in" ? "→" : "←"} `,
    element("code", {}, text),
  );
}
