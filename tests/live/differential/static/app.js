"use strict";

// What FastAPI gives an app: parameters, dependencies, state, other clients, and Python itself.

Object.assign(scenarios, {
  async parameters_of_a_socket(s) {
    document.cookie = "color=green";
    const a = s.connect("/item/7?size=3");
    await a.messages(1);
    a.close();
    await a.closed;
    document.cookie = "color=; max-age=0";
    const b = s.connect("/item/%38?size=3&size=4");
    await b.messages(1);
    b.close();
    await b.closed;
  },

  async dependencies_of_a_socket(s) {
    const a = s.connect("/dependent?word=good");
    await a.messages(1);
    a.close();
    await a.closed;
  },

  async the_scope_of_a_socket(s) {
    document.cookie = "one=1";
    document.cookie = "two=a%20b";
    for (const path of ["/scope/", "/scope/a%20b%2Fc/ż?q=ż&q=%26&empty=", "/scope/x//y/../z?"]) {
      await s.connect(path, ["chat.v1", "chat.v2"]).closed;
    }
    document.cookie = "one=; max-age=0";
    document.cookie = "two=; max-age=0";
    await s.connect(`/scope/plain?host=${location.host}`).closed;
  },

  async the_scope_of_a_request(s) {
    document.cookie = "one=1";
    for (const path of ["/scope/", "/scope/a%20b%2Fc/ż?q=ż&q=%26&empty=", "/scope/x//y/../z?", `/scope/plain?host=${location.host}`]) {
      const facts = await (await fetch(path)).json();
      for (const [key, value] of Object.entries(facts)) s.note(key, JSON.stringify(value));
    }
    document.cookie = "one=; max-age=0";
  },

  async two_clients_in_a_room(s) {
    s.apart = true;
    const ada = s.connect("/room?who=Ada");
    await ada.opened;
    const bob = s.connect("/room?who=Bob&bystander=", [], bystander);
    await bob.opened;
    await fetch("/signal?name=Bob+came");
    ada.send("hello");
    await ada.messages(1);
    await bob.messages(1);
    bob.send("hello yourself");
    await ada.messages(2);
    await bob.messages(2);
    bob.close();
    await bob.closed;
    await ada.messages(3);
    ada.close();
    await ada.closed;
  },

  async a_room_whose_member_is_cut_off(s) {
    s.apart = true;
    const bob = s.connect("/room?who=Bob&bystander=", [], bystander);
    await bob.opened;
    const ada = s.connect("/room?who=Ada");
    await ada.opened;
    await fetch("/signal?name=Ada+came");
    ada.send("hello");
    await bob.messages(1);
    await ada.messages(1);
    await hurt("cut");
    await ada.closed;
    await bob.messages(2);
    bob.close();
    await bob.closed;
  },

  async a_task_that_receives_and_one_that_sends(s) {
    const a = s.connect("/two-tasks");
    await a.opened;
    a.send("one");
    await a.messages(1);
    a.send("two");
    await a.messages(2);
    a.close();
    await a.closed;
  },

  async functions_that_run_in_threads(s) {
    await s.ask("/plain-function");
    await s.ask("/python/thread");
    await s.ask("/python/pool");
  },

  async a_function_that_takes_its_time(s) {
    const slow = fetch("/python/patience?name=patience");
    await fetch("/signal?name=patience+begun");
    await fetch("/signal?name=patience", { method: "POST" });
    s.note(await (await slow).json());
  },

  async what_takes_more_than_one_thread(s) {
    await s.ask("/python/threads");
    await s.ask("/python/sockets");
    await s.ask("/python/processes");
  },

  async sleeping_in_the_way_that_blocks(s) {
    await s.ask("/python/sleep");
  },

  async a_database_in_a_file(s) {
    await s.ask("/python/database");
  },

  async what_the_steps_use_of_asyncio(s) {
    await s.ask("/python/asyncio");
  },

  async something_done_after_the_answer(s) {
    await s.ask("/later?name=done");
    await s.ask("/signal?name=done");
  },
});
