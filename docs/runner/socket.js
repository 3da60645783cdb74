// A WebSocket class like the browser's own, whose frames go through a port and not over a network.
// The rules are those of the WHATWG WebSockets standard and of Web IDL.

const [CONNECTING, OPEN, CLOSING, CLOSED] = [0, 1, 2, 3];
const STATES = { CONNECTING, OPEN, CLOSING, CLOSED };
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const PAUSE = 2000; // milliseconds between two frames on a slow line

const fail = (name, text) => {
  throw new DOMException(text, name);
};
// Not String(): that takes symbols, too. What is no Unicode is replaced.
const asText = (value) => `${value}`.toWellFormed?.() ?? `${value}`;
const size = (content) =>
  content.size ?? content.byteLength ?? new TextEncoder().encode(content).length;

// What will be sent, as it is now: the page may change its buffer meanwhile.
function copied(data) {
  if (data instanceof Blob) return data;
  if (!(data instanceof ArrayBuffer) && !ArrayBuffer.isView(data)) return asText(data);
  const { buffer = data, byteOffset = 0, byteLength } = data;
  return byteLength ? buffer.slice(byteOffset, byteOffset + byteLength) : new ArrayBuffer(0);
}

// `post` hands a message to the server's end, and returns whether there is one; `cookies` are those
// that handshakes send. Returns the class, and what its owner can do to all sockets at once.
export function sockets(post, cookies) {
  const open = new Map();
  let unread = [];
  let serial = 0;
  let slow = false;
  let timer = 0;
  let take, lose, leave; // what the page cannot call

  class WebSocket extends EventTarget {
    #sid = ++serial;
    #url;
    #state = CONNECTING;
    #protocol = "";
    #binaryType = "blob";
    #buffered = 0;
    #sending = Promise.resolve();
    #handlers = {};

    constructor(url, protocols = []) {
      super();
      if (!arguments.length) throw new TypeError("1 argument required, but only 0 present.");
      let parsed;
      try {
        parsed = new URL(url, document.baseURI);
      } catch {
        fail("SyntaxError", `The URL '${url}' is invalid.`);
      }
      parsed.protocol = parsed.protocol.replace(/^http/, "ws");
      if (!/^wss?:$/.test(parsed.protocol))
        fail("SyntaxError", `The URL's scheme '${parsed.protocol}' is not ws or wss.`);
      if (parsed.hash || parsed.href.endsWith("#"))
        fail("SyntaxError", "A WebSocket URL has no fragment.");
      const several = Object(protocols) === protocols && Symbol.iterator in protocols;
      const wanted = (several ? [...protocols] : [protocols]).map(asText);
      if (!wanted.every((name) => TOKEN.test(name)) || new Set(wanted).size < wanted.length)
        fail("SyntaxError", `The subprotocols '${wanted}' are not valid, or one comes twice.`);
      this.#url = parsed.href;
      open.set(this.#sid, this);
      if (parsed.host !== location.host)
        return this.#fail("windows here reach no host but the step's own server");
      const headers = { "user-agent": navigator.userAgent };
      const cookie = cookies.header(parsed.pathname);
      if (cookie) headers.cookie = cookie;
      const path = parsed.pathname + parsed.search;
      const asked = post({ type: "connect", sid: this.#sid, path, protocols: wanted, headers });
      if (!asked) this.#fail();
    }

    get url() {
      return this.#url;
    }
    get readyState() {
      return this.#state;
    }
    get protocol() {
      return this.#protocol;
    }
    get extensions() {
      return "";
    }
    get bufferedAmount() {
      return this.#buffered;
    }
    get binaryType() {
      return this.#binaryType;
    }
    set binaryType(type) {
      if (type === "blob" || type === "arraybuffer") this.#binaryType = type;
    }

    send(data) {
      if (!arguments.length) throw new TypeError("1 argument required, but only 0 present.");
      const content = copied(data);
      if (this.#state === CONNECTING) fail("InvalidStateError", "Still in CONNECTING state.");
      this.#buffered += size(content);
      if (this.#state !== OPEN) return;
      // A blob takes time to be read, and what is sent after it comes after it.
      this.#later(async () => {
        const ready = content instanceof Blob ? await content.arrayBuffer() : content;
        post({ type: "send", sid: this.#sid, data: ready });
        this.#buffered -= size(content);
      });
    }

    close(code = undefined, reason = "") {
      if (code !== undefined) {
        code = Math.max(0, Math.min(65535, Math.round(+code) || 0));
        if (code !== 1000 && !(code >= 3000 && code <= 4999))
          fail("InvalidAccessError", `${code} is neither 1000 nor between 3000 and 4999.`);
      }
      reason = asText(reason);
      if (size(reason) > 123)
        fail("SyntaxError", "The close reason has more than 123 bytes of UTF-8.");
      if (this.#state >= CLOSING) return;
      if (this.#state === CONNECTING) this.#fail("it was closed before it was established");
      this.#state = CLOSING;
      // A reason without a code is sent with 1000.
      code ??= reason ? 1000 : undefined;
      this.#later(() => post({ type: "close", sid: this.#sid, code, reason }));
    }

    #later(action) {
      this.#sending = this.#sending.then(action);
    }

    #fail(why) {
      setTimeout(() => this.#take({ type: "fail", why }));
    }

    #take({ type, protocol, data, code, reason, clean, status, why }) {
      if (type === "open" && this.#state === CONNECTING) {
        this.#state = OPEN;
        this.#protocol = protocol;
        this.dispatchEvent(new Event("open"));
      } else if (type === "message") {
        // Received is received, also by a page that is about to close.
        post({ type: "taken", sid: this.#sid });
        if (this.#state !== OPEN) return;
        // A copy: what came through the port is of the realm of the page around the window.
        if (typeof data !== "string") data = new Uint8Array(data).buffer;
        if (typeof data !== "string" && this.#binaryType === "blob") data = new Blob([data]);
        const { origin } = new URL(this.#url);
        this.dispatchEvent(new MessageEvent("message", { data, origin }));
      } else if (type === "fail") {
        why ??= status ? `the server answered with ${status}` : "no server runs";
        console.warn(`WebSocket connection to '${this.#url}' failed: ${why}`);
        this.#end(true);
      } else if (type === "close") {
        this.#end(false, code, reason, clean);
      }
    }

    #end(failed, code = 1006, reason = "", wasClean = false) {
      if (!open.delete(this.#sid)) return;
      this.#state = CLOSED;
      if (failed) this.dispatchEvent(new Event("error"));
      this.dispatchEvent(new CloseEvent("close", { code, reason, wasClean }));
    }

    static {
      take = (socket, message) => socket.#take(message);
      lose = (socket) => socket.#end(socket.#state === CONNECTING);
      leave = (socket) => post({ type: "leave", sid: socket.#sid });
      for (const target of [this, this.prototype])
        for (const [name, value] of Object.entries(STATES))
          Object.defineProperty(target, name, { value, enumerable: true });
      const tag = { value: "WebSocket", configurable: true };
      Object.defineProperty(this.prototype, Symbol.toStringTag, tag);
      for (const type of ["open", "message", "error", "close"]) {
        Object.defineProperty(this.prototype, `on${type}`, {
          get() {
            return this.#handlers[type]?.handleEvent ?? null;
          },
          // One that is replaced keeps its place among the listeners; after null it has to queue.
          set(handler) {
            const kept = this.#handlers[type];
            if (Object(handler) !== handler) {
              if (kept) this.removeEventListener(type, kept.listener);
              delete this.#handlers[type];
            } else if (kept) {
              kept.handleEvent = handler;
            } else {
              const added = { handleEvent: handler };
              added.listener = (event) => {
                if (typeof added.handleEvent === "function") added.handleEvent.call(this, event);
              };
              this.#handlers[type] = added;
              this.addEventListener(type, added.listener);
            }
          },
        });
      }
    }
  }

  // On a slow line everything takes its time, the first frame and the last.
  function read() {
    timer = 0;
    while (unread.length) {
      const message = unread.shift();
      if (open.has(message.sid)) take(open.get(message.sid), message);
      if (slow) return wait();
    }
  }

  function wait() {
    if (!timer && unread.length) timer = setTimeout(read, PAUSE);
  }

  const each = (action) => [...open.values()].forEach(action);
  return {
    WebSocket,
    receive(message) {
      unread.push(message);
      if (slow) wait();
      else read();
    },
    slow(on) {
      slow = on;
      if (slow) return;
      clearTimeout(timer);
      read();
    },
    // What is on its way is lost, in both directions.
    cut() {
      unread = [];
      for (const sid of open.keys()) post({ type: "cut", sid });
      each(lose);
    },
    send: (data) => each((socket) => socket.readyState === OPEN && socket.send(data)),
    lose: () => each(lose),
    leave: () => each(leave),
  };
}
