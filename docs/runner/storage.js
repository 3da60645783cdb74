// localStorage or sessionStorage of one window. What is in it is in `kept`, which outlives its page.
const LIMIT = 5 * 2 ** 20; // letters in all keys and values, as in Chromium

export function storage(kept) {
  const texts = (count, given) => {
    if (given.length < count) throw new TypeError(`Not enough arguments: ${count} are needed`);
    return given.map((each) => `${each}`);
  };
  const methods = {
    getItem: (...given) => kept.get(texts(1, given)[0]) ?? null,
    setItem(...given) {
      const [key, value] = texts(2, given);
      if ([...new Map(kept).set(key, value)].flat().join("").length > LIMIT)
        throw new DOMException("It is more than a browser keeps.", "QuotaExceededError");
      kept.set(key, value);
    },
    removeItem: (...given) => void kept.delete(texts(1, given)[0]),
    clear: () => kept.clear(),
    key: (...given) => [...kept.keys()][texts(1, given)[0]] ?? null,
    get length() {
      return kept.size;
    },
  };
  Object.setPrototypeOf(methods, Storage.prototype);
  // What is in it can be had as properties, too.
  return new Proxy(methods, {
    get: (_, key) => (key in methods ? methods[key] : kept.get(key)),
    set: (_, key, value) => {
      methods.setItem(key, value);
      return true;
    },
    has: (_, key) => key in methods || kept.has(key),
    deleteProperty: (_, key) => {
      kept.delete(key);
      return true;
    },
    ownKeys: () => [...kept.keys()],
    getOwnPropertyDescriptor: (_, key) =>
      kept.has(key)
        ? { value: kept.get(key), writable: true, enumerable: true, configurable: true }
        : undefined,
  });
}
