"use strict";

// Messages: their kinds, sizes and order.

Object.assign(scenarios, {
  async text_and_bytes_come_back_as_they_were(s) {
    const a = s.connect("/echo");
    await a.opened;
    for (const data of ["one", bytes(1, 2), "", bytes(), "two"]) a.send(data);
    await a.messages(5);
    a.close(1000);
    await a.closed;
  },

  async a_blob_holds_back_what_is_sent_after_it(s) {
    const a = s.connect("/echo");
    a.socket.binaryType = "arraybuffer";
    await a.opened;
    a.send(new Blob(["x".repeat(100000)]));
    a.send("after the blob");
    a.send(new Blob(["short"]));
    a.send(bytes(7));
    await a.messages(4);
    a.close();
    await a.closed;
  },

  async close_waits_for_a_blob(s) {
    const a = s.act("accept", "receive", "receive", "receive");
    await a.opened;
    a.send(new Blob(["blob"]));
    a.send("text");
    a.close(4000, "after the blob");
    await a.closed;
  },

  async a_buffer_is_copied_when_it_is_sent(s) {
    const a = s.connect("/echo");
    a.socket.binaryType = "arraybuffer";
    await a.opened;
    const view = bytes(1, 2, 3);
    a.send(view);
    view.fill(9);
    a.send(view.buffer);
    structuredClone(view.buffer, { transfer: [view.buffer] });
    await a.messages(2);
    a.close();
    await a.closed;
  },

  async a_buffer_that_was_given_away(s) {
    const a = s.act("accept", "receive", "receive", "receive");
    await a.opened;
    const view = bytes(1, 2, 3);
    const { buffer } = view;
    structuredClone(buffer, { transfer: [buffer] });
    s.attempt("buffer", () => a.send(buffer));
    s.attempt("view", () => a.send(view));
    a.close();
    await a.closed;
  },

  async the_amount_that_is_buffered(s) {
    const a = s.connect("/echo");
    await a.opened;
    a.send("żółw");
    a.send(bytes(1, 2, 3));
    s.attempt("in the same turn", () => a.socket.bufferedAmount);
    await a.messages(2);
    s.attempt("when it came back", () => a.socket.bufferedAmount);
    a.close();
    a.send("żółw");
    s.attempt("closing", () => a.socket.bufferedAmount);
    await a.closed;
    a.send(bytes(1, 2));
    a.send(new Blob(["blob"]));
    a.send(new DataView(new ArrayBuffer(8), 1, 2));
    s.attempt("closed", () => a.socket.bufferedAmount);
  },

  async a_blob_is_buffered_too(s) {
    const a = s.connect("/echo");
    await a.opened;
    a.send(new Blob(["blob"]));
    a.send("text");
    s.attempt("in the same turn", () => a.socket.bufferedAmount);
    await a.messages(2);
    s.attempt("when it came back", () => a.socket.bufferedAmount);
    a.close();
    await a.closed;
  },

  async a_hundred_messages_keep_their_order(s) {
    const a = s.connect("/echo");
    await a.opened;
    for (let i = 0; i < 50; i += 1) {
      a.send(`text ${i}`);
      a.send(bytes(i));
    }
    await a.messages(100);
    a.close();
    await a.closed;
  },

  async a_hundred_messages_from_the_server_keep_their_order(s) {
    const a = s.act("accept", "count 100", "close");
    await a.closed;
  },

  async a_million_bytes(s) {
    const a = s.connect("/echo");
    a.socket.binaryType = "arraybuffer";
    await a.opened;
    a.send("é".repeat(500000));
    a.send(Uint8Array.from({ length: 1000000 }, (_, i) => i % 251));
    await a.messages(2);
    a.close();
    await a.closed;
  },

  async a_long_text_from_the_server(s) {
    const a = s.act("accept", "long 300000", "close");
    await a.closed;
  },

  async text_sent_before_the_app_receives_waits(s) {
    const a = s.act("accept", "signal accepted", "wait", "text", "text", "text", "close");
    await a.opened;
    for (const text of ["a", "b", "c"]) a.send(text);
    await a.signal("");
    await a.closed;
  },

  async json_as_text_and_as_bytes(s) {
    const a = s.act("accept", "json text", "json bin", "object", "object", "object", "close");
    await a.messages(2);
    a.send('{"a": [1, null, "é"]}');
    a.send("no JSON");
    a.send("[]");
    await a.closed;
  },

  async the_wrong_kind_of_frame(s) {
    const a = s.act("accept", "text", "binary", "object", "text", "close");
    await a.opened;
    a.send(bytes(1));
    a.send("text");
    a.send(bytes(2));
    a.send("still there");
    await a.closed;
  },

  async a_send_with_neither_text_nor_bytes(s) {
    const a = s.act("accept", "neither", "close");
    await a.closed;
  },

  async both_text_and_bytes(s) {
    const a = s.act("accept", "both", "close");
    await a.closed;
  },

  async many_sockets_of_one_page(s) {
    s.apart = true; // who is connected first is nobody's promise
    const all = Array.from({ length: 10 }, () => s.connect("/echo"));
    for (const [i, a] of all.entries()) {
      await a.opened;
      a.send(`to ${i}`);
      await a.messages(1);
    }
    for (const a of all.reverse()) {
      a.close();
      await a.closed;
    }
  },

  async each_socket_has_its_own_order(s) {
    const [a, b] = [s.connect("/echo"), s.connect("/echo")];
    await a.opened;
    await b.opened;
    [a.quiet, b.quiet] = [true, true];
    const heard = { a: [], b: [] };
    a.onsaw = (type, event) => heard.a.push(event.data);
    b.onsaw = (type, event) => heard.b.push(event.data);
    for (let i = 0; i < 20; i += 1) {
      a.send(`a${i}`);
      b.send(`b${i}`);
    }
    await a.messages(20);
    await b.messages(20);
    s.note(heard.a.join(" "));
    s.note(heard.b.join(" "));
    for (const socket of [a, b]) {
      socket.close();
      await socket.closed;
    }
  },
});
