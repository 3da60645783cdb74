"use strict";

// What a page keeps: localStorage and sessionStorage.

const stores = () => [localStorage, sessionStorage];
const noteStore = (s, store, label) => {
  const keys = Array.from({ length: store.length }, (_, n) => store.key(n)).sort();
  s.note(label, JSON.stringify(keys.map((key) => [key, store.getItem(key)])), JSON.stringify(Object.keys(store).sort()));
};

Object.assign(scenarios, {
  async a_store_of_texts(s) {
    for (const store of stores()) {
      store.clear();
      noteStore(s, store, "empty");
      store.setItem("a", "1");
      store.setItem("b", 2);
      store.setItem("a", null);
      store.setItem(5, { toString: () => "an object" });
      store.setItem("", "");
      noteStore(s, store, "four");
      s.note(store.getItem("c"), store.getItem(5), store.getItem(""), store.key(4), store.key(-1));
      s.attempt("removing", () => store.removeItem("a"));
      s.attempt("removing what is not there", () => store.removeItem("c"));
      noteStore(s, store, "three");
      s.attempt("one argument", () => store.setItem("a"));
      s.attempt("no argument", () => store.getItem());
      s.attempt("a symbol", () => store.setItem("a", Symbol("b")));
      s.attempt("clearing", () => store.clear());
      noteStore(s, store, "cleared");
    }
  },

  async a_store_with_properties(s) {
    for (const store of stores()) {
      store.a = 1;
      store["b"] = "two";
      s.note(store.a, store.b, store.c, typeof store.a, "a" in store, "c" in store, "getItem" in store);
      s.note(Object.entries(store).sort().join("; "), JSON.stringify({ ...store }));
      s.note(delete store.a, delete store.c, store.a, store.length);
      store.setItem("length", "long");
      store.setItem("getItem", "gotten");
      s.note(store.length, store.getItem("length"), store.getItem("getItem"));
      s.note(`${store}`, store instanceof Storage, typeof store.toString);
      store.clear();
    }
  },

  async a_store_that_is_full(s) {
    for (const store of stores()) {
      const most = "x".repeat(5 * 1024 * 1024 - 1);
      s.attempt("as much as there is room for", () => store.setItem("a", most));
      s.attempt("the same again", () => store.setItem("a", most));
      try {
        store.setItem("b", "");
      } catch (error) {
        s.note("one more", error.name); // its class is Chromium's own
      }
      s.note(store.length, store.getItem("a").length, store.getItem("b"));
      store.clear();
    }
  },

  async a_store_in_another_window(s) {
    for (const name of ["localStorage", "sessionStorage"]) {
      window[name].setItem("a", "1");
      s.note(name, "there", bystander[name].getItem("a"));
      window[name].clear();
    }
  },

  async a_store_that_cannot_be_replaced(s) {
    for (const name of ["localStorage", "sessionStorage"]) {
      s.attempt(name, () => {
        window[name] = null;
        return typeof window[name];
      });
    }
  },
});
