// The worker, as the page sees it: Python and a server in it, and a watch over its event loop.

const BLOCKED = 2000; // milliseconds in which the loop has not turned
const SLOW_START = 6000; // the same while a step is imported, which may take its time
const PATIENCE = 2500; // milliseconds for a server to stop by itself

export class Machine {
  #worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
  #answers = {};
  #limit = SLOW_START;
  #asked = 0;
  #blocked = false;
  #watch = 0;

  // `hears` has a function for what comes unasked: output, journal, blocked, turning.
  constructor(hears) {
    this.ready = new Promise((settle, reject) => {
      this.#answers = { ready: settle, broken: ({ text }) => reject(new Error(text)) };
      this.#worker.onerror = (event) =>
        reject(new Error(event.message || "the worker does not start"));
    }).then(() => {
      this.#watch = setInterval(() => this.#look(hears), 250);
    });
    this.#worker.onmessage = ({ data }) => {
      if (data.type !== "pong") return (this.#answers[data.type] ?? hears[data.type])(data);
      if (this.#blocked) hears.turning();
      this.#blocked = false;
      this.#asked = 0;
    };
  }

  // Starts the server anew; resolves to whether it runs. `disk` has the files that it is to find in
  // place of what earlier ones have left; undefined: whatever they have.
  async run(app, files, disk) {
    await this.ready;
    this.#limit = SLOW_START;
    const runs = await new Promise((settle, reject) => {
      Object.assign(this.#answers, {
        running: () => settle(true),
        failed: () => settle(false),
        broken: ({ text }) => reject(new Error(text)),
      });
      this.#worker.postMessage({ type: "run", app, files, disk });
    });
    this.#limit = BLOCKED;
    return runs;
  }

  // Connects a window, and returns its end of the connection.
  connect(window) {
    const { port1, port2 } = new MessageChannel();
    this.#worker.postMessage({ type: "window", window, port: port1 }, [port1]);
    return port2;
  }

  // Stops the server as Ctrl+C does; the machine lives on. Resolves to the files that it has left.
  stop() {
    return new Promise((settle) => {
      this.#answers.stopped = ({ disk }) => settle(disk);
      setTimeout(settle, PATIENCE);
      this.#worker.postMessage({ type: "stop" });
    });
  }

  // Ends all of it at once, and gives its memory back.
  kill() {
    clearInterval(this.#watch);
    this.#worker.terminate();
  }

  #look(hears) {
    if (!this.#asked) {
      this.#asked = performance.now();
      this.#worker.postMessage({ type: "ping" });
    } else if (!this.#blocked && performance.now() - this.#asked > this.#limit) {
      this.#blocked = true;
      hears.blocked();
    }
  }
}
