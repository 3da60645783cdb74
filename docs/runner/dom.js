// Makes an element: its name, what it gets (on… are listeners, the rest are attributes), what is in it.
export function element(name, given = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(given)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== false && value !== undefined)
      made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

export const button = (name, text, click, given = {}) =>
  element("button", { type: "button", class: name, onclick: click, ...given }, text);
