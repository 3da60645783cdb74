// Stands in for Mermaid until a page has a diagram, and brings it then. Material would bring it
// from another host, also when instant navigation comes from a page without diagrams.
{
  const own = new URL("mermaid.min.js", document.currentScript.src);
  let options, loaded;
  const load = () =>
    new Promise((resolve, reject) => {
      const script = document.createElement("script");
      document.head.append(Object.assign(script, { src: own, onload: resolve, onerror: reject }));
    });
  globalThis.mermaid = {
    initialize: (given) => {
      options = given;
    },
    render: async (...diagram) => {
      loaded ??= load().then(() => mermaid.initialize(options));
      await loaded;
      return mermaid.render(...diagram);
    },
  };
}
