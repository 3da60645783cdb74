"use strict";

// Cookies: which ones are kept, who sees them, and where they are sent.

const giving = (...lines) => `/cookies/a/b?${lines.map((line) => `line=${encodeURIComponent(line)}`).join("&")}`;

/** Notes where the cookies are that there are: in the page, and in requests for two places. */
async function noteCookies(s, label) {
  const sent = await Promise.all(["/cookies/", "/cookies/a/c/"].map(async (path) => (await fetch(path)).json()));
  s.note(`${label}: page ${document.cookie}; sent ${sent.join("; deeper ")}`);
}

/** Has the app set cookies, notes what became of them, and has them deleted. */
async function given(s, ...lines) {
  await fetch(giving(...lines));
  await noteCookies(s, lines.map((line) => shorten(line)).join(" | "));
  await fetch(giving(...lines.map((line) => `${line}; max-age=0`)));
}

/** The same for cookies that the page sets. */
async function assigned(s, ...lines) {
  for (const line of lines) document.cookie = line;
  await noteCookies(s, JSON.stringify(lines));
  for (const line of lines) document.cookie = `${line}; max-age=0`;
}

const handshake = (s) => s.connect("/cookies/a").closed;

Object.assign(scenarios, {
  async a_cookie_from_the_app(s) {
    await given(s, "from_the_app=yes; path=/");
    await given(s, 'session="one two"; HttpOnly; Max-Age=3600; Path=/; SameSite=lax; Secure');
    const answer = await s.ask(giving("a=1; path=/"), {}, "set-cookie");
    s.note([...answer.headers.keys()].sort().join(" "), answer.headers.getSetCookie().length);
    await given(s, "a=1; path=/");
    await noteCookies(s, "afterwards");
  },

  async several_cookies(s) {
    await given(s, "a=1; path=/", "b=2; path=/", "c=3; path=/cookies/a", "d=4; path=/", "e=5; path=/cookies");
    await given(s, "a=1; path=/", "b=2; path=/", "a=3; path=/");
    await given(s, "a=1; path=/", "b=2; path=/", "a=1; path=/; httponly");
    await given(s, "a=1; path=/", "a=2; path=/cookies");
    await given(s, "a=1; path=/, b=2; path=/");
  },

  async paths_of_cookies(s) {
    const paths = ["/", "/cookies", "/cookies/", "/cookies/a", "/cook", "/other", "other", "", '"/"', "/; path=/other", "/other; path="];
    for (const path of paths) await given(s, `a=1; path=${path}`);
    for (const attributes of ["", "; path", "; PATH = /", ";;path=/;"]) await given(s, `a=1${attributes}`);
  },

  async cookies_that_expire(s) {
    for (const age of ["100", "0", "-1", "x", "", "1.5", "+1", "0; max-age=100", "100; max-age=0"]) await given(s, `a=1; path=/; max-age=${age}`);
    const [past, future] = ["Wed, 21 Oct 2009 07:28:00 GMT", "Wed, 21 Oct 2099 07:28:00 GMT"];
    for (const end of [past, future, past.toUpperCase(), "Wed, 21-Oct-2009 07:28:00 GMT", "21 Oct 2009 7:28:00"]) await given(s, `a=1; path=/; expires=${end}`);
    for (const end of ["nonsense", "0", "-1", "", "2009", "2009-10-21T07:28:00Z", "Wed, 21 Xyz 2009 07:28:00 GMT"]) await given(s, `a=1; path=/; expires=${end}`);
    await given(s, `a=1; path=/; max-age=0; expires=${future}`);
    await given(s, `a=1; path=/; max-age=9; expires=${past}`);
    await given(s, `a=1; path=/; expires=${past}; max-age=x`);
    await fetch(giving("a=1; path=/; max-age=1", "b=1; path=/"));
    await until(() => !document.cookie.includes("a=1"));
    await noteCookies(s, "after a second");
    await fetch(giving("b=; path=/; max-age=0"));
  },

  async a_cookie_that_no_script_sees(s) {
    await given(s, "a=1; path=/; httponly", "b=2; path=/");
    await given(s, "a=1; path=/; HttpOnly=no");
    await fetch(giving("a=1; path=/; httponly"));
    document.cookie = "a=2; path=/";
    await noteCookies(s, "assigned");
    document.cookie = "a=; path=/; max-age=0";
    await noteCookies(s, "deleted");
    document.cookie = "a=2; path=/cookies/a";
    await noteCookies(s, "with another path");
    document.cookie = "a=; path=/cookies/a; max-age=0";
    await given(s, "a=3; path=/");
    await assigned(s, "a=1; httponly");
  },

  async secure_cookies(s) {
    await given(s, "a=1; path=/; secure");
    await assigned(s, "a=1; secure");
    for (const name of ["__Secure-a", "__Host-a", "__host-a"]) {
      for (const attributes of ["path=/", "path=/; secure", "secure", "path=/; secure; domain=127.0.0.1"]) await given(s, `${name}=1; ${attributes}`);
    }
    for (const where of ["strict", "lax", "none", "None; secure", "nonsense", ""]) await given(s, `a=1; path=/; samesite=${where}`);
    for (const domain of ["127.0.0.1", ".127.0.0.1", "localhost", "0.0.1", "", "localhost; domain="]) await given(s, `a=1; path=/; domain=${domain}`);
  },

  async names_and_values_of_cookies(s) {
    const all = ["a", "=a", "", "=", "=a=b", "a=b=c", "a  =  1 2  ", 'a="1; 2"', "a=", "a=1,b=2", "a=ż", "ż=1", "A=1", "a=%20"];
    for (const pair of all) await given(s, `${pair}; path=/`);
    for (const size of [4095, 4096]) await given(s, `a=${"x".repeat(size)}; path=/`);
  },

  async cookies_of_the_page(s) {
    const all = [
      "a=1", "a=1; path=/cookies/a", "a=1; path=/other", "a", "", "=", "a=ż", "a=1\nb=2", "a=1\r", "a=1\0", "a=1\x7f", "a=1\xa0", "\ta=1\t;\tpath=/",
      "a=1; max-age=0", "a=1; secure", "__Secure-a=1", "__Host-a=1; secure", 5, null, undefined,
    ];
    for (const line of all) await assigned(s, line);
    await assigned(s, "a=1", "b=2", "a=3");
    await assigned(s, "a=ż", "b=2");
    document.cookie = "a=ż";
    await handshake(s);
    document.cookie = "a=; max-age=0";
  },

  async requests_with_credentials_and_without(s) {
    for (const credentials of ["omit", "same-origin", "include"]) {
      await s.ask(giving("a=1; path=/; httponly"), { credentials });
      await s.ask("/cookies/", { credentials });
      await noteCookies(s, credentials);
      await fetch(giving("a=; path=/; max-age=0"));
    }
  },

  async cookies_on_the_way(s) {
    await s.ask(`${giving("a=1; path=/cookies/c", "b=2; path=/")}&to=/cookies/c/d`);
    await s.ask(`${giving("b=; path=/; max-age=0")}&to=/cookies/c/d`);
    await s.ask(giving("a=; path=/cookies/c; max-age=0"));
  },

  async cookies_in_handshakes(s) {
    const lines = ["a=1; path=/; httponly", "b=2; path=/cookies/a", "c=3; path=/cookies/b", "d=4; path=/; secure"];
    await fetch(giving(...lines));
    await handshake(s);
    await fetch(giving(...lines.map((line) => `${line}; max-age=0`)));
    await handshake(s);
  },

  async a_cookie_from_a_handshake(s) {
    const a = s.act("accept-with a=1; path=/; httponly", "close");
    await a.opened;
    await noteCookies(s, "open");
    await a.closed;
    await s.act("accept-with b=2", "close").closed; // for the folder of /act
    await handshake(s);
    await given(s, "a=1; path=/", "b=1; path=/");
  },

  async a_cookie_from_a_handshake_that_is_refused(s) {
    await s.act("deny-with a=1; path=/; httponly").closed;
    await noteCookies(s, "refused");
    await given(s, "a=1; path=/");
  },

  async a_cookie_in_another_window(s) {
    await fetch(giving("a=1; path=/"));
    s.note(document.cookie, "there", bystander.document.cookie);
    s.note("sent from there", await (await bystander.fetch("/cookies/")).json());
    await fetch(giving("a=; path=/; max-age=0"));
  },

  async a_store_of_cookies(s) {
    s.note(typeof cookieStore);
  },
});
