// A WebSocket class like the browser's own, whose frames go through a port and not over a network.
// The rules are those of the WHATWG WebSockets standard.

const [CONNECTING, OPEN, CLOSING, CLOSED] = [0, 1, 2, 3];
const STATES = { CONNECTING, OPEN, CLOSING, CLOSED };
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const PAUSE = 2000; // milliseconds between two messages that a slow line brings

const fail = (name, text) => {
  throw new DOMException(text, name);
};
const bytes = (text) => new TextEncoder().encode(text).length;

// `post` hands a message to the server's end, and returns whether there is one. Returns the class,
// and what its owner can do to all sockets at once.
export function sockets(post) {
  const open = new Map();
  const unread = [];
  let serial = 0,
    slow = false,
    timer = 0;
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
      const wanted = (typeof protocols === "object" ? [...protocols] : [protocols]).map(String);
      const names = wanted.map((name) => name.toLowerCase());
      if (!wanted.every((name) => TOKEN.test(name)) || new Set(names).size < names.length) {
        fail(
          "SyntaxError",
          `The subprotocols '${wanted}' are not valid, or one of them comes twice.`,
        );
      }
      this.#url = parsed.href;
      open.set(this.#sid, this);
      if (parsed.host !== location.host) {
        setTimeout(() => this.#take({ type: "fail", why: "windows here reach no other host" }));
        return;
      }
      const headers = { "user-agent": navigator.userAgent };
      if (document.cookie) headers.cookie = document.cookie;
      const path = parsed.pathname + parsed.search;
      const asked = post({ type: "connect", sid: this.#sid, path, protocols: wanted, headers });
      if (!asked) setTimeout(() => this.#take({ type: "fail" }));
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
      if (this.#state === CONNECTING) fail("InvalidStateError", "Still in CONNECTING state.");
      let content;
      if (data instanceof Blob) content = data.arrayBuffer();
      else if (data instanceof ArrayBuffer) content = data.slice(0);
      else if (ArrayBuffer.isView(data))
        content = data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength);
      else content = String(data).toWellFormed?.() ?? String(data);
      if (this.#state !== OPEN) {
        this.#buffered += data.size ?? content.byteLength ?? bytes(content);
        return;
      }
      // A blob takes time to be read, and what is sent after it comes after it.
      this.#post(content, (ready) => ({ type: "send", sid: this.#sid, data: ready }));
    }

    close(code, reason = "") {
      if (code !== undefined) {
        code = Math.max(0, Math.min(65535, Math.round(Number(code)) || 0));
        if (code !== 1000 && !(code >= 3000 && code <= 4999)) {
          fail(
            "InvalidAccessError",
            `The close code must be 1000, or between 3000 and 4999. ${code} is neither.`,
          );
        }
      }
      reason = String(reason).toWellFormed?.() ?? String(reason);
      if (bytes(reason) > 123)
        fail("SyntaxError", "The close reason has more than 123 bytes of UTF-8.");
      if (this.#state >= CLOSING) return;
      const early = this.#state === CONNECTING;
      this.#state = CLOSING;
      // A reason without a code is sent with 1000.
      this.#leave(code ?? (reason ? 1000 : undefined), reason);
      if (early)
        setTimeout(() =>
          this.#take({ type: "fail", why: "it was closed before the connection was established" }),
        );
    }

    #leave(code, reason) {
      this.#post(undefined, () => ({ type: "close", sid: this.#sid, code, reason }));
    }

    #post(content, message) {
      this.#sending = this.#sending.then(async () => post(message(await content)));
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
        if (typeof data !== "string")
          data = this.#binaryType === "blob" ? new Blob([data]) : data.slice().buffer;
        this.dispatchEvent(
          new MessageEvent("message", { data, origin: new URL(this.#url).origin }),
        );
      } else if (type === "fail") {
        why ??= status
          ? `Error during WebSocket handshake: Unexpected response code: ${status}`
          : "no server runs";
        console.warn(`WebSocket connection to '${this.#url}' failed: ${why}`);
        this.#end(true, { code: 1006, reason: "", wasClean: false });
      } else if (type === "close") {
        this.#end(false, { code, reason, wasClean: clean });
      }
    }

    #end(failed, how) {
      if (!open.delete(this.#sid)) return;
      this.#state = CLOSED;
      if (failed) this.dispatchEvent(new Event("error"));
      this.dispatchEvent(new CloseEvent("close", how));
    }

    static {
      take = (socket, message) => socket.#take(message);
      lose = (socket) => socket.#end(false, { code: 1006, reason: "", wasClean: false });
      leave = (socket) => socket.#leave(1001, "");
      for (const target of [this, this.prototype]) {
        for (const [name, value] of Object.entries(STATES))
          Object.defineProperty(target, name, { value, enumerable: true });
      }
      Object.defineProperty(this.prototype, Symbol.toStringTag, {
        value: "WebSocket",
        configurable: true,
      });
      for (const type of ["open", "message", "error", "close"]) {
        Object.defineProperty(this.prototype, `on${type}`, {
          get() {
            return this.#handlers[type]?.handler ?? null;
          },
          set(handler) {
            handler = typeof handler === "function" ? handler : null;
            // Its place among the listeners is that of the first time.
            if (this.#handlers[type]) this.#handlers[type].handler = handler;
            else if (handler) {
              const kept = (this.#handlers[type] = { handler });
              this.addEventListener(type, (event) => kept.handler?.call(this, event));
            }
          },
        });
      }
    }
  }

  function read() {
    timer = 0;
    while (unread.length) {
      const message = unread.shift();
      if (open.has(message.sid)) take(open.get(message.sid), message);
      if (slow && message.type === "message") {
        timer = setTimeout(read, PAUSE);
        return;
      }
    }
  }

  const each = (action) => [...open.values()].forEach(action);
  return {
    WebSocket,
    receive(message) {
      unread.push(message);
      if (!timer) read();
    },
    slow(on) {
      slow = on;
      clearTimeout(timer);
      read();
    },
    cut: () => [...open.keys()].forEach((sid) => post({ type: "cut", sid })),
    send: (data) => each((socket) => socket.readyState === OPEN && socket.send(data)),
    lose: () => each(lose),
    leave: () => each(leave),
  };
}
