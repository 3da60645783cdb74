"use strict";

// Events: their classes and fields, who hears them, and in what order.

const fields = (event, ...names) => names.map((name) => `${name}=${JSON.stringify(event[name])}`).join(" ");

Object.assign(scenarios, {
  async the_fields_of_events(s) {
    const a = s.act("accept", "send hello", "close 4000 bye");
    a.onsaw = (type, event) => {
      s.note(event.constructor.name, fields(event, "type", "bubbles", "cancelable", "composed", "defaultPrevented", "eventPhase"));
      s.note("target", event.target === a.socket, event.currentTarget === a.socket, event.srcElement === a.socket);
      s.note("path", event.composedPath().length, "time", event.timeStamp > 0);
    };
    await a.closed;
  },

  async events_are_trusted(s) {
    const a = s.act("accept", "send hello", "close 4000 bye");
    a.onsaw = (type, event) => s.note(type, event.isTrusted);
    await a.closed;
  },

  async the_fields_of_a_message(s) {
    const a = s.act("accept", "send hello", "bytes 01", "close");
    a.onsaw = (type, event) => {
      if (type !== "message") return;
      s.note("origin", event.origin === server, fields(event, "lastEventId", "source", "ports"));
    };
    await a.closed;
  },

  async the_fields_of_a_failure(s) {
    const a = s.connect("/nowhere");
    a.onsaw = (type, event) => s.note(event.constructor.name, fields(event, "type", "bubbles", "cancelable"), "message" in event);
    await a.closed;
    a.unseen = true; // its route does not exist: nothing notes it
  },

  async handlers_and_listeners_in_the_order_they_came(s) {
    const a = s.act("accept", "send one", "wait", "send two", "close");
    const { socket } = a;
    socket.addEventListener("message", () => s.note("listener 1"));
    socket.onmessage = () => s.note("never: replaced");
    socket.addEventListener("message", () => s.note("listener 2"));
    socket.onmessage = () => s.note("handler, in the place of the first");
    await a.messages(1);
    await new Promise((resolve) => setTimeout(resolve)); // a later task: all listeners have heard it
    socket.onmessage = null;
    s.attempt("handler", () => socket.onmessage);
    socket.onmessage = () => s.note("handler, set anew: now the last");
    await a.signal("");
    await a.closed;
  },

  async what_a_handler_may_be(s) {
    const a = s.act("accept", "send one", "close");
    const { socket } = a;
    for (const value of [5, "text", undefined, null, {}, { handleEvent: () => s.note("never") }, Symbol.iterator]) {
      s.attempt(String(value), () => {
        socket.onmessage = value;
        return socket.onmessage;
      });
    }
    socket.onmessage = { handleEvent: () => s.note("never: a handler is no listener") };
    socket.onclose = function (...all) {
      s.note("this", this === socket, "arguments", all.length);
      return false;
    };
    s.attempt("handler", () => typeof socket.onclose);
    await a.closed;
  },

  async listeners_once_removed_doubled_and_objects(s) {
    const a = s.act("accept", "send one", "send two", "close");
    const { socket } = a;
    const listener = () => s.note("a function");
    const removed = () => s.note("never: removed");
    const object = { name: "object", handleEvent(event) { s.note(this.name, event.data); } };
    const controller = new AbortController();
    socket.addEventListener("message", () => s.note("once"), { once: true });
    socket.addEventListener("message", listener);
    socket.addEventListener("message", listener);
    socket.addEventListener("message", removed);
    socket.removeEventListener("message", removed);
    socket.addEventListener("message", object);
    socket.addEventListener("message", null);
    socket.addEventListener("message", () => s.note("never: aborted"), { signal: controller.signal });
    controller.abort();
    s.attempt("neither", () => socket.addEventListener("message", "text"));
    await a.closed;
  },

  async a_listener_may_stop_the_others(s) {
    const a = s.act("accept", "send one", "close");
    a.socket.addEventListener("message", (event) => event.stopImmediatePropagation());
    a.socket.addEventListener("message", () => s.note("never"));
    await a.closed;
  },

  async a_listener_added_by_a_listener(s) {
    const a = s.act("accept", "send one", "send two", "close");
    let added = false;
    a.socket.addEventListener("message", ({ data }) => {
      if (!added) a.socket.addEventListener("message", (event) => s.note("added", event.data));
      added = true;
      s.note("adds", data);
    });
    await a.closed;
  },

  async a_handler_that_throws_stops_nobody(s) {
    const a = s.act("accept", "send one", "send two", "close");
    a.socket.onmessage = () => {
      throw new Error("a bug in the page");
    };
    a.socket.addEventListener("message", () => s.note("the next listener"));
    const seen = await uncaught(() => a.closed);
    s.note(seen.join(" | "));
  },

  async an_event_of_the_pages_own(s) {
    const a = s.act("accept", "receive");
    await a.opened;
    a.socket.onclose = ({ type, isTrusted }) => s.note("handler", type, isTrusted);
    s.attempt("dispatch", () => a.socket.dispatchEvent(new CloseEvent("close", { code: 4000 })));
    s.attempt("state", () => a.socket.readyState);
    a.close();
    await until(() => a.socket.readyState === WebSocket.CLOSED);
  },

  async promises_between_two_listeners(s) {
    const a = s.act("accept", "send one", "close");
    a.socket.addEventListener("message", () => Promise.resolve().then(() => s.note("promise")));
    a.socket.addEventListener("message", () => s.note("second listener"));
    await a.closed;
  },

  async promises_between_two_messages(s) {
    const a = s.act("accept", "send one", "send two", "send three", "close");
    a.socket.addEventListener("message", async ({ data }) => {
      await null;
      await null;
      s.note("a while after", data);
    });
    await a.closed;
  },

  async the_state_that_listeners_see(s) {
    const a = s.act("accept", "send one", "receive", "close 4000");
    a.socket.onmessage = () => a.send("go on");
    await a.closed;
  },

  async nothing_happens_before_the_constructor_is_done(s) {
    const a = s.act("accept", "close");
    await null;
    await Promise.resolve();
    s.attempt("state", () => a.socket.readyState);
    a.socket.onopen = () => s.note("a handler set later hears it, too");
    await a.closed;
  },

  async a_handler_that_waits_for_an_answer(s) {
    const a = s.connect("/echo");
    a.socket.onopen = async () => {
      a.send("one");
      await a.messages(1);
      a.send("two");
      await a.messages(2);
      a.close(4000);
    };
    await a.closed;
  },
});
