"use strict";

// What happens when the line is cut, or slow: `hurt` says how, and the bystander's stays whole.

Object.assign(scenarios, {
  async cut_while_nothing_happens(s) {
    const a = s.act("accept", "send hello", "receive", "send late", "send later");
    await a.messages(1);
    await hurt("cut");
    await a.closed;
  },

  async cut_and_the_app_closes(s) {
    const a = s.act("accept", "send hello", "receive", "close 4000", "receive");
    await a.messages(1);
    await hurt("cut");
    await a.closed;
  },

  async cut_while_the_app_sends(s) {
    const a = s.act("accept", "stream", "send late", "receive");
    a.quiet = true;
    await a.messages(10);
    await hurt("cut");
    await a.closed;
    s.note("closed");
  },

  async cut_before_the_app_accepts(s) {
    const a = s.act("receive", "signal asked", "receive", "accept", "send x");
    await a.told("asked");
    await hurt("cut");
    await a.closed;
  },

  async cut_before_the_app_refuses(s) {
    const a = s.act("receive", "signal asked", "receive", "close 4000", "send x");
    await a.told("asked");
    await hurt("cut");
    await a.closed;
  },

  async cut_before_the_app_crashes(s) {
    const a = s.act("receive", "signal asked", "receive", "raise ValueError a bug");
    await a.told("asked");
    await hurt("cut");
    await a.closed;
  },

  async cut_before_the_answer_to_close(s) {
    const a = s.act("accept", "send hello", "receive", "signal told", "wait", "send late");
    await a.messages(1);
    await hurt("slow");
    a.close(4000, "bye");
    await a.told("told");
    s.attempt("state", () => a.socket.readyState);
    await hurt("cut");
    await a.closed;
    await hurt("fast");
    await a.signal("");
  },

  async cut_after_the_server_closed(s) {
    const a = s.act("accept", "send hello", "wait", "close 4000", "signal closed", "receive", "receive");
    await a.messages(1);
    await hurt("slow");
    await a.signal("");
    await a.told("closed");
    await hurt("cut");
    await a.closed;
    await hurt("fast");
  },

  async cut_and_come_back(s) {
    const a = s.act("accept", "send one", "receive");
    await a.messages(1);
    await hurt("cut");
    await a.closed;
    const b = s.act("accept", "send two", "receive");
    await b.messages(1);
    b.close();
    await b.closed;
  },

  async cut_takes_all_of_a_page_and_nobody_else(s) {
    const one = s.act("accept", "send hello", "receive");
    await one.messages(1);
    const two = s.act("accept", "send hello", "receive");
    await two.messages(1);
    const other = s.actElsewhere("accept", "echo");
    await other.opened;
    two.quiet = true; // whose end comes first is nobody's promise
    await hurt("cut");
    await one.closed;
    await two.closed;
    s.attempt("the other", () => other.socket.readyState);
    other.send("still there");
    await other.messages(1);
    other.close();
    await other.closed;
  },

  async cut_while_a_send_waits(s) {
    const a = s.act("accept", "send hello", "wait", "fill", "send late", "receive");
    await a.messages(1);
    a.quiet = true;
    await hurt("slow");
    await a.signal("");
    await a.told("full");
    await hurt("cut");
    await a.closed;
    await hurt("fast");
  },

  async a_send_waits_and_everything_arrives_in_order(s) {
    const a = s.act("accept", "send hello", "wait", "fill", "close 4000 all sent");
    await a.messages(1);
    const frames = fillings(a);
    await hurt("slow");
    await a.signal("");
    await a.told("full");
    await hurt("fast");
    await a.closed;
    s.note(frames());
  },

  async a_send_waits_and_the_others_do_not(s) {
    const a = s.act("accept", "send hello", "wait", "fill", "close 4000 all sent");
    await a.messages(1);
    const frames = fillings(a);
    const other = s.actElsewhere("accept", "echo");
    await other.opened;
    await hurt("slow");
    await a.signal("");
    await a.told("full");
    other.send("meanwhile");
    await other.messages(1);
    await s.ask("/plain-function");
    other.close();
    await other.closed;
    await hurt("fast");
    await a.closed;
    s.note(frames());
  },

  async a_send_waits_and_is_given_up(s) {
    const a = s.act("accept", "send hello", "wait", "fill once", "send after it", "close 4000");
    await a.messages(1);
    const frames = fillings(a);
    await hurt("slow");
    await a.signal("");
    await a.told("relieved");
    await hurt("fast");
    await a.closed;
    s.note(frames());
  },

  async a_send_waits_and_the_page_still_speaks(s) {
    const a = s.act("accept", "send hello", "wait", "spawn fill", "text", "signal heard", "join", "close");
    await a.messages(1);
    const frames = fillings(a);
    await hurt("slow");
    await a.signal("");
    await a.told("full");
    a.send("can you hear me?");
    await a.told("heard");
    await hurt("fast");
    await a.closed;
    s.note(frames());
  },

  async a_send_waits_and_the_page_leaves(s) {
    const a = s.act("accept", "send hello", "wait", "spawn fill", "receive", "signal told");
    await a.messages(1);
    a.quiet = true;
    a.onsaw = (type, event) => {
      if (type !== "message") s.note(type, type === "close" ? closing(event) : "");
    };
    await hurt("slow");
    await a.signal("");
    await a.told("full");
    a.close(4000, "bye");
    await a.told("told");
    s.attempt("state", () => a.socket.readyState);
    await hurt("fast");
    await a.closed;
  },

  async a_send_waits_and_another_task_closes(s) {
    const a = s.act("accept", "send hello", "wait", "spawn fill", "wait full", "close 4001 enough", "receive", "receive");
    await a.messages(1);
    a.quiet = true;
    a.onsaw = (type, event) => {
      if (type !== "message") s.note(type, type === "close" ? closing(event) : "");
    };
    await hurt("slow");
    await a.signal("");
    await a.told("full");
    await hurt("fast");
    await a.closed;
  },

  // A slow line delays what the server says: so it is certain who spoke first.
  async both_close_at_once(s) {
    const a = s.act("accept", "send hello", "wait", "close 4001 the server", "signal closed", "receive", "receive");
    await a.messages(1);
    await hurt("slow");
    await a.signal("");
    await a.told("closed");
    a.close(4002, "the page");
    s.attempt("state", () => a.socket.readyState);
    await hurt("fast");
    await a.closed;
  },

  async the_server_sends_while_the_page_closes(s) {
    const a = s.act("accept", "send hello", "wait", "send crosses", "signal sent", "receive", "signal told", "wait fast", "send late");
    await a.messages(1);
    await hurt("slow");
    await a.signal("");
    await a.told("sent");
    a.close(4000, "bye");
    await a.told("told");
    await hurt("fast");
    await a.closed;
    await a.signal("fast");
  },

  async the_page_sends_while_the_server_closes(s) {
    const a = s.act("accept", "send hello", "wait", "close 4000 bye", "signal closed", "receive", "receive");
    await a.messages(1);
    await hurt("slow");
    await a.signal("");
    await a.told("closed");
    s.attempt("state", () => a.socket.readyState);
    a.send("crosses");
    await hurt("fast");
    await a.closed;
  },

  async messages_cross(s) {
    const a = s.act("accept", "send hello", "wait", "send from the server", "signal sent", "text", "send got it", "close");
    await a.messages(1);
    await hurt("slow");
    await a.signal("");
    await a.told("sent");
    a.send("from the page");
    await hurt("fast");
    await a.closed;
  },

  async a_slow_line_while_it_opens(s) {
    await hurt("slow");
    const a = s.act("accept", "signal accepted", "receive");
    await a.told("accepted");
    await hurt("fast");
    await a.opened;
    a.close(4000);
    await a.closed;
  },
});

/** Gathers the frames that fill a line, in place of noting them; returns what to say of them. */
function fillings(a) {
  const numbers = [];
  a.quiet = true;
  a.onsaw = (type, event) => {
    if (type === "close") a.scenario.note("close", closing(event));
    if (type !== "message") return;
    if (event.data.startsWith("fill ")) numbers.push(Number.parseInt(event.data.slice(5), 10));
    else if (event.data.startsWith("filled ")) a.promised = Number.parseInt(event.data.slice(7), 10);
    else a.scenario.note("message", event.data);
  };
  return () => {
    const inOrder = numbers.every((number, i) => number === i);
    const all = numbers.length === a.promised;
    return `${all ? "all" : `${numbers.length} of ${a.promised}`}, ${inOrder ? "in order" : "out of order"}`;
  };
}
