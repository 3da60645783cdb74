"use strict";

// What may be said to a WebSocket (WHATWG WebSockets, section 3): every rule that a page can see.

/** Notes whether the constructor takes this, and waits for the end: browsers brake many at once. */
async function tried(s, label, how, told) {
  let socket;
  s.attempt(label, () => {
    socket = new WebSocket(...how);
    return told(socket);
  });
  if (!socket) return;
  const closed = new Promise((resolve) => (socket.onclose = resolve));
  socket.close();
  await closed;
}

Object.assign(scenarios, {
  async the_class(s) {
    s.attempt("name", () => WebSocket.name);
    s.attempt("length", () => WebSocket.length);
    s.attempt("tag", () => Object.prototype.toString.call(WebSocket.prototype));
    s.attempt("parent", () => Object.getPrototypeOf(WebSocket));
    s.attempt("without new", () => WebSocket(`${server}/nowhere`));
    s.attempt("without an address", () => new WebSocket());
    for (const name of ["CONNECTING", "OPEN", "CLOSING", "CLOSED"]) {
      for (const owner of [WebSocket, WebSocket.prototype]) {
        s.note(name, JSON.stringify(Object.getOwnPropertyDescriptor(owner, name)));
      }
    }
    s.attempt("window", () => Object.getOwnPropertyDescriptor(window, "WebSocket").enumerable);
  },

  async the_prototype(s) {
    const members = Object.getOwnPropertyDescriptors(WebSocket.prototype);
    for (const name of Object.keys(members).sort()) {
      const { get, set, value } = members[name];
      s.note(name, get ? `get${set ? " set" : ""}` : typeof value, value?.length ?? "");
    }
    s.attempt("a getter on something else", () => WebSocket.prototype.readyState);
    s.attempt("send on something else", () => WebSocket.prototype.send.call({}, "x"));
    const a = s.act("accept", "close");
    s.attempt("own keys", () => Object.keys(a.socket));
    s.attempt("is an EventTarget", () => a.socket instanceof EventTarget);
    s.attempt("tag", () => String(a.socket));
    s.attempt("read-only", () => {
      a.socket.readyState = 3;
      return a.socket.readyState;
    });
    await a.closed;
  },

  async a_new_socket(s) {
    const a = s.act("accept", "close");
    for (const name of ["readyState", "bufferedAmount", "extensions", "protocol", "binaryType", "onopen", "onclose"]) {
      s.attempt(name, () => a.socket[name]);
    }
    s.attempt("url", () => a.socket.url.startsWith(server));
    await a.closed;
    for (const name of ["readyState", "bufferedAmount", "extensions", "protocol"]) {
      s.attempt(name, () => a.socket[name]);
    }
  },

  async send_before_open(s) {
    const a = s.act("accept", "receive");
    s.attempt("send", () => a.send("too early"));
    s.attempt("send of nothing", () => a.socket.send());
    await a.opened;
    a.send("in time");
    await a.closed;
  },

  async what_can_be_sent_as_text(s) {
    const all = [
      "", "a", 5, -0, 1e21, true, null, undefined, {}, [1, [2, 3]], () => 1, new String("object"), new Date(NaN), "\ud800 alone",
      "żółw 🐢", "nul \0 nul", "\ufeffmark", 12n, /x/, { toString: () => "its own words" },
    ];
    const a = s.connect("/echo");
    await a.opened;
    s.attempt("nothing", () => a.socket.send());
    s.attempt("a symbol", () => a.send(Symbol("x")));
    s.attempt("no text", () => a.send(Object.create(null)));
    for (const data of all) a.send(data);
    await a.messages(all.length);
    a.close();
    await a.closed;
  },

  async what_can_be_sent_as_bytes(s) {
    const { buffer } = bytes(0, 1, 2, 3, 4, 5, 6, 255);
    const all = [
      buffer, new Uint8Array(buffer), new Uint8Array(buffer, 2, 3), new DataView(buffer, 1, 2), new Uint16Array(buffer, 4),
      new Float32Array([1.5]), new Uint8ClampedArray([300]), new BigInt64Array([-1n]), bytes(), new ArrayBuffer(0),
      new Blob([]), new Blob(["text"]), new Blob([buffer, "x"], { type: "text/plain" }), new File(["file"], "name"),
    ];
    const a = s.connect("/echo");
    a.socket.binaryType = "arraybuffer";
    await a.opened;
    for (const data of all) a.send(data);
    await a.messages(all.length);
    a.close();
    await a.closed;
  },

  async close_codes_that_may_be_given(s) {
    const a = s.act("accept", "receive");
    await a.opened;
    const bad = [0, 1, 999, 1001, 1002, 1005, 1006, 1011, 1015, 2999, 5000, 65536, -1, NaN, Infinity, null, "x", {}];
    for (const code of bad) s.attempt(`close(${code})`, () => a.close(code));
    s.attempt("a symbol", () => a.close(Symbol("x")));
    s.attempt("a big number", () => a.close(3000n));
    s.attempt("a bad code and a long reason", () => a.close(999, "x".repeat(124)));
    s.attempt("state", () => a.socket.readyState);
    s.attempt("as text", () => a.close("3999", null));
    s.attempt("state", () => a.socket.readyState);
    await a.closed;
  },

  async close_reasons_that_may_be_given(s) {
    const a = s.act("accept", "receive");
    await a.opened;
    s.attempt("124 letters", () => a.close(3000, "x".repeat(124)));
    s.attempt("62 letters of two bytes", () => a.close(3000, "ż".repeat(62)));
    s.attempt("state", () => a.socket.readyState);
    s.attempt("123 bytes", () => a.close(3000, `${"ż".repeat(61)}x`));
    await a.closed;
    s.attempt("after the end, a bad code", () => a.close(999));
    s.attempt("after the end, a long reason", () => a.close(3000, "x".repeat(124)));
    s.attempt("after the end", () => a.close(3000, "x"));
  },

  async binary_type(s) {
    const a = s.act("accept", "bytes 0001", "wait", "bytes 02", "wait again", "bytes", "close");
    s.attempt("at first", () => a.socket.binaryType);
    for (const type of ["arraybuffer", "nonsense", "", "Blob", null, undefined, 5, "blob"]) {
      s.attempt(String(type), () => {
        a.socket.binaryType = type;
        return a.socket.binaryType;
      });
    }
    await a.messages(1);
    a.socket.binaryType = "arraybuffer";
    await a.signal("");
    await a.messages(2);
    a.socket.binaryType = "blob";
    await a.signal("again");
    await a.closed;
    s.attempt("afterwards", () => (a.socket.binaryType = "arraybuffer"));
  },

  async subprotocols(s) {
    const first = s.connect("/act?do=accept&do=close", ["a", "b"]);
    await first.closed;
    const second = s.connect("/act?do=accept+b&do=close", ["a", "b"]);
    await second.closed;
    s.attempt("protocol", () => second.socket.protocol);
    const foreign = s.connect("/act?do=accept+c&do=close", ["a", "b"]);
    await foreign.closed;
    s.attempt("protocol", () => foreign.socket.protocol);
    const unasked = s.connect("/act?do=accept+a&do=close");
    await unasked.closed;
    const text = s.connect("/act?do=accept+a.b&do=close", "a.b");
    await text.closed;
    s.attempt("protocol", () => text.socket.protocol);
    const otherCase = s.connect("/act?do=accept+A&do=close", "a");
    await otherCase.closed;
  },

  // Last: after many failures a browser lets sockets wait.
  async addresses(s) {
    const { host } = location;
    const all = [
      `${server}/nowhere`, "/nowhere", "nowhere", "./nowhere/../nowhere", "?x=1", "", `//${host}/nowhere`,
      `http://${host}/nowhere`, `HTTP://${host}/nowhere`, `ws://${host}`, `WS://${host.toUpperCase()}/Nowhere`,
      "/with space", "/zażółć?x=ę", "/a%20b%2Fc", "/nowhere?a=%zz", `ws://user:word@${host}/nowhere`,
      new URL(`${server}/nowhere`), 5, null, undefined,
      `${server}/nowhere#part`, `${server}/nowhere#`, "#part", `ftp://${host}/`, "file:///x", "data:,x", "ws://",
      "ws:", "ws://[", "http://", "ws://host:99999/", "javascript:0",
    ];
    for (const address of all) {
      await tried(s, String(address).replaceAll(host, "HOST"), [address], ({ url }) => url.replaceAll(host, "HOST"));
    }
  },

  async protocols_that_may_not_be(s) {
    const all = [
      ["a", "a"], ["a", "A"], ["a b"], [""], "", "a,b", "a/b", "é", "\n", ["a", ""], [["a"]], ["(a)"], ["a", "b", "a"],
      "!#$%&'*+-.^_`|~", [], ["a", "b"], new Set(["a", "b"]), null, undefined, 5, {}, [undefined], Symbol("a"), "x".repeat(300),
    ];
    for (const protocols of all) {
      const text = protocols instanceof Set ? "a set" : String(JSON.stringify(protocols));
      await tried(s, text, [`${server}/nowhere`, protocols], ({ protocol }) => protocol);
    }
  },
});
