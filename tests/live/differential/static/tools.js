"use strict";

// What scenarios are told in: each has a log of what the page saw, and asks the app for its own.

const LIMIT = 8000; // milliseconds that a scenario may take
const scenarios = {}; // name: function
const server = `${location.protocol === "https:" ? "wss:" : "ws:"}//${location.host}`;
const bytes = (...numbers) => new Uint8Array(numbers);

class Scenario {
  constructor(name) {
    this.name = name;
    this.lines = []; // [client, text or a promise of one: a Blob is read later than it came]
    this.apart = false; // what several clients see is told one client after another
    this.clients = [];
  }

  note(...words) {
    this.lines.push([0, words.join(" ")]);
  }

  /** Notes what `work` returns or throws. */
  attempt(label, work) {
    try {
      this.note(label, "is", describe(work()));
    } catch (error) {
      this.note(label, "throws", told(error));
    }
  }

  async attemptLater(label, work) {
    try {
      this.note(label, "is", describe(await work()));
    } catch (error) {
      this.note(label, "fails with", told(error));
    }
  }

  /** Opens a socket, with `note` in its address: under that name the app keeps its journal. */
  connect(path, protocols, from = window) {
    const note = `${this.name} ${this.clients.length + 1}`;
    const address = `${server}${path}${path.includes("?") ? "&" : "?"}note=${encodeURIComponent(note)}`;
    const client = new Client(this, note, () => new from.WebSocket(address, protocols));
    this.clients.push(client);
    return client;
  }

  /** Opens a socket to an endpoint that carries out these orders. */
  act(...orders) {
    return this.connect(`/act?${orders.map((order) => `do=${encodeURIComponent(order)}`).join("&")}`);
  }

  /** The same from the other window, whose line nobody hurts. */
  actElsewhere(...orders) {
    const query = orders.map((order) => `do=${encodeURIComponent(order)}`).join("&");
    return this.connect(`/act?bystander=&${query}`, [], bystander);
  }

  /** Asks over HTTP and notes the answer, with these of its headers. */
  async ask(path, init, ...headers) {
    try {
      const answer = await fetch(path, init);
      this.note(init?.method ?? "GET", path, answer.status);
      for (const name of headers) this.note(" ", name, "is", answer.headers.get(name));
      this.note(" ", shorten(await answer.text()));
      return answer;
    } catch (error) {
      this.note(init?.method ?? "GET", path, "fails with", told(error));
    }
  }

  /** Returns what the scenario saw, once the app has ended with all its connections. */
  async log() {
    const clients = this.clients.filter(({ unseen }) => !unseen);
    const query = clients.map(({ note }) => `name=${encodeURIComponent(note)}`).join("&");
    const notes = query ? await (await fetch(`/journal?${query}`)).json() : [];
    const app = notes.flatMap((lines, i) => lines.map((line) => clients[i].label + line));
    return { page: await this.seen(), app };
  }

  async seen() {
    const lines = this.apart ? this.lines.toSorted(([a], [b]) => a - b) : this.lines;
    return Promise.all(lines.map(([, text]) => text));
  }
}

/** A socket whose events are noted and can be waited for. */
class Client {
  constructor(scenario, note, open) {
    this.scenario = scenario;
    this.note = note;
    this.number = scenario.clients.length + 1;
    this.label = this.number > 1 ? `${this.number}: ` : "";
    this.heard = 0;
    this.unseen = false; // whether it may be that its handshake never reaches the app
    this.waiting = [];
    this.past = new Set();
    this.socket = open();
    for (const type of ["open", "message", "error", "close"]) {
      this.socket.addEventListener(type, (event) => this.saw(type, event));
    }
  }

  saw(type, event) {
    this.past.add(type);
    if (type === "message") this.heard += 1;
    if (!this.quiet) {
      const text = type === "message" ? describe(event.data) : type === "close" ? closing(event) : "";
      const state = `state=${event.target.readyState}`;
      const line = (said) => [this.label + type, said, state].filter(Boolean).join(" ");
      this.scenario.lines.push([this.number, text instanceof Promise ? text.then(line) : line(text)]);
    }
    this.onsaw?.(type, event);
    this.waiting = this.waiting.filter(({ ready, resolve }) => !ready() || resolve());
  }

  until(ready) {
    return new Promise((resolve) => {
      if (ready()) resolve();
      else this.waiting.push({ ready, resolve });
    });
  }

  get opened() {
    return this.until(() => this.past.has("open"));
  }

  get closed() {
    return this.until(() => this.past.has("close"));
  }

  messages(count) {
    return this.until(() => this.heard >= count);
  }

  /** Gives the app a signal that its script waits for. */
  signal(name) {
    return fetch(`/signal?name=${encodeURIComponent(`${this.note} ${name}`)}`, { method: "POST" });
  }

  /** Waits for a signal of the app. */
  told(name) {
    return fetch(`/signal?name=${encodeURIComponent(`${this.note} ${name}`)}`);
  }

  send(data) {
    this.socket.send(data);
  }

  close(...how) {
    this.socket.close(...how);
  }
}

function closing({ code, reason, wasClean }) {
  return `${code} ${JSON.stringify(reason)} ${wasClean ? "clean" : "unclean"}`;
}

/** Says what a value is; a promise of it for a Blob. */
function describe(value) {
  if (value instanceof Promise) return "a promise";
  if (typeof value === "string") return shorten(JSON.stringify(value));
  if (value instanceof Blob) {
    const type = JSON.stringify(value.type);
    return value.arrayBuffer().then((buffer) => `Blob ${type} ${hex(buffer)}`);
  }
  if (value instanceof ArrayBuffer) return `ArrayBuffer ${hex(value)}`;
  if (Array.isArray(value)) return shorten(JSON.stringify(value));
  if (value !== null && typeof value === "object") return value.constructor.name;
  return typeof value === "function" ? `function ${value.name}` : String(value);
}

function told(error) {
  const code = error instanceof DOMException ? ` ${error.code}` : "";
  return `${error.constructor.name} ${error.name}${code}`;
}

function shorten(text) {
  if (text.length <= 400) return text;
  let sum = 0;
  for (const letter of text) sum = (sum * 31 + letter.codePointAt(0)) % 4294967291;
  return `${text.length} letters, checksum ${sum}`;
}

function hex(buffer) {
  const text = Array.from(new Uint8Array(buffer), (byte) => byte.toString(16).padStart(2, "0"));
  return `${buffer.byteLength}: ${shorten(text.join(" "))}`;
}

/** Waits until something is there that gives no sign of it. */
async function until(there) {
  while (!there()) await new Promise((resolve) => setTimeout(resolve, 10));
}

/** Returns what the window is told of errors that nobody catches. */
async function uncaught(work) {
  const seen = [];
  const note = (event) => {
    seen.push(event.error.message);
    event.preventDefault();
  };
  addEventListener("error", note);
  await work();
  removeEventListener("error", note);
  return seen;
}

// The line. In the runner each window has buttons for it; on a real server a proxy stands between.
const client = window.frameElement?.closest(".client");
let bystander; // the other client's window

async function hurt(how) {
  if (!client) {
    await fetch(`/__line__/${how}`, { method: "POST" });
  } else if (how === "cut") {
    client.querySelector("button.cut").click();
  } else {
    const slow = client.querySelector("button.slow");
    if ((slow.getAttribute("aria-pressed") === "true") !== (how === "slow")) slow.click();
  }
}

async function findBystander() {
  if (!client) document.body.insertAdjacentHTML("beforeend", '<section class="client" data-client="2"><iframe src="/">');
  await bystanderOtherThan(undefined);
}

async function bystanderOtherThan(old) {
  const frame = () => (client ? parent : window).document.querySelector('.client[data-client="2"] iframe');
  await until(() => frame()?.contentDocument !== old && frame()?.contentDocument?.title === "bystander");
  bystander = frame().contentWindow;
}

/** Loads the bystander's window again: its sockets end as when a page is left. */
async function reloadBystander() {
  const old = bystander.document;
  if (client) parent.document.querySelector('.client[data-client="2"] button.reload').click();
  else bystander.location.href = "/";
  await bystanderOtherThan(old);
}
