"use strict";

// How a connection does not come about, and how it ends: codes, reasons, and who hears what.

const refused = (...orders) => async (s) => {
  await s.act(...orders).closed;
};

Object.assign(scenarios, {
  // Before it is accepted.
  refused_by_close: refused("close"),
  refused_by_close_with_a_code: refused("close 4401 who are you"),
  refused_by_close_then_accepted: refused("close", "accept", "send x", "receive", "receive"),
  refused_by_a_websocket_exception: refused("raise WebSocketException 4401 who are you"),
  refused_by_an_http_exception: refused("raise HTTPException 401 who are you"),
  refused_by_an_http_answer: refused("deny 418", "accept", "receive", "receive"),
  refused_by_a_crash: refused("raise ValueError a bug"),
  refused_by_returning: refused(),
  refused_after_listening: refused("receive", "close"),

  async refused_by_a_redirect(s) {
    await s.act("deny 307").closed;
  },

  async refused_because_there_is_no_such_path(s) {
    for (const path of ["/nowhere", "/nowhere?x=1", "/act/", "/thing", "/notes.txt"]) {
      const a = s.connect(path);
      a.unseen = path !== "/act/";
      await a.closed;
      a.unseen = true;
    }
  },

  async refused_because_a_parameter_is_wrong(s) {
    await s.connect("/item/seven?size=1").closed;
    await s.connect("/item/7").closed;
    await s.connect("/item/7?size=10").closed;
    await s.connect("/dependent?word=bad").closed;
    await s.connect("/dependent").closed;
  },

  async refused_because_the_endpoint_is_a_plain_function(s) {
    await s.connect("/plain").closed;
  },

  // What may not be done before, or twice.
  sent_before_accepted: refused("send too early", "text", "accept", "close"),
  accepted_twice: refused("accept", "accept", "send still there", "close"),
  closed_twice: refused("accept", "close 4001 first", "close 4002 second", "receive", "receive"),
  sent_after_close: refused("accept", "close 4001", "send late", "bytes 00", "receive", "receive"),
  received_after_close: refused("accept", "close 4001 enough", "text", "text"),
  denied_after_accept: refused("accept", "deny 403", "close"),

  // After it was accepted.
  ended_by_returning: refused("accept"),
  ended_by_returning_after_a_message: refused("accept", "send last words"),
  ended_by_a_crash: refused("accept", "send last words", "raise ValueError a bug"),
  ended_by_a_websocket_exception: refused("accept", "raise WebSocketException 4001 against the rules"),
  ended_by_a_websocket_exception_without_a_reason: refused("accept", "raise WebSocketException 1008"),
  ended_by_an_http_exception: refused("accept", "raise HTTPException 404 not here"),
  ended_by_close_without_a_code: refused("accept", "close"),
  ended_by_a_reason_in_letters_of_all_kinds: refused("accept", "close 4000 żółw 🐢"),
  ended_by_the_longest_reason: refused("accept", `close 4000 ${"ż".repeat(61)}x`),
  ended_by_a_reason_that_is_too_long: refused("accept", `close 4000 ${"ż".repeat(62)}`, "send still there", "close"),

  async ended_by_each_code_that_a_server_may_give(s) {
    for (const code of [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999]) {
      await s.act("accept", `close ${code} because`).closed;
    }
  },

  async ended_by_codes_that_nobody_may_give(s) {
    for (const code of [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 70000]) {
      await s.act("accept", `close ${code}`, "send still there", "close").closed;
    }
  },

  // The page leaves.
  async left_without_a_code(s) {
    const a = s.act("accept", "send hello", "receive", "send late", "send later");
    await a.messages(1);
    a.close();
    s.attempt("state", () => a.socket.readyState);
    await a.closed;
  },

  async left_with_a_code_and_a_reason(s) {
    const a = s.act("accept", "send hello", "text", "text", "bytes 00");
    await a.messages(1);
    a.close(4321, "żółw 🐢");
    await a.closed;
  },

  async left_with_1000(s) {
    const a = s.act("accept", "send hello", "receive", "close 4000", "close");
    await a.messages(1);
    a.close(1000);
    await a.closed;
  },

  async left_twice(s) {
    const a = s.act("accept", "send hello", "receive");
    await a.messages(1);
    a.close(4001, "first");
    a.close(4002, "second");
    await a.closed;
    a.close(4003, "third");
    s.attempt("state", () => a.socket.readyState);
  },

  async left_after_some_messages(s) {
    const a = s.act("accept", "text", "text", "text", "text");
    await a.opened;
    for (const text of ["a", "b", "c"]) a.send(text);
    a.close(4000);
    a.send("dropped");
    await a.closed;
  },

  async left_while_the_app_is_busy(s) {
    const a = s.act("accept", "signal busy", "wait", "text", "text");
    await a.opened;
    await a.told("busy");
    a.send("before");
    a.close(4000, "bye");
    await a.signal("");
    await a.closed;
  },

  async left_in_the_open_handler(s) {
    const a = s.act("accept", "receive");
    a.socket.onopen = () => {
      a.close(4000, "at once");
      s.attempt("state", () => a.socket.readyState);
    };
    await a.closed;
  },

  async left_in_the_message_handler(s) {
    const a = s.act("accept", "send one", "receive");
    a.socket.onmessage = () => a.close(4000, "heard enough");
    await a.closed;
  },

  async left_in_the_close_handler(s) {
    const a = s.act("accept", "close 4000");
    a.socket.onclose = () => {
      a.close(4001);
      s.attempt("state", () => a.socket.readyState);
    };
    await a.closed;
  },

  async left_before_it_is_open(s) {
    const a = s.act("accept", "receive");
    a.unseen = true; // a browser may not even have asked yet
    a.close(4000, "changed my mind");
    s.attempt("state", () => a.socket.readyState);
    s.attempt("send", () => a.send("x"));
    s.attempt("buffered", () => a.socket.bufferedAmount);
    await a.closed;
  },

  async left_while_the_app_thinks_about_accepting(s) {
    const a = s.act("receive", "signal asked", "receive", "accept", "send x", "close");
    await a.told("asked");
    a.close();
    await a.closed;
  },

  async left_and_come_back(s) {
    for (let visit = 1; visit <= 3; visit += 1) {
      const a = s.act("accept", `send visit ${visit}`, "receive");
      await a.messages(1);
      a.close(4000 + visit);
      await a.closed;
    }
  },

  async left_by_loading_the_page_again(s) {
    const a = s.actElsewhere("accept", "signal open", "receive", "send late");
    await a.opened;
    await a.told("open");
    a.quiet = true; // its page is gone
    await reloadBystander();
  },

  async both_close_when_the_app_is_told(s) {
    const a = s.act("accept", "send hello", "receive", "close 4002 after you");
    await a.messages(1);
    a.close(4001, "me first");
    await a.closed;
  },

  async closed_at_once_after_messages(s) {
    const a = s.act("accept", "send one", "send two", "bytes 03", "close 4000 all said");
    await a.closed;
  },

  async closed_while_a_message_is_on_its_way_to_the_server(s) {
    const a = s.act("accept", "send hello", "close 4000", "receive", "receive");
    a.socket.onmessage = () => a.send("crosses the close");
    await a.closed;
  },
});
