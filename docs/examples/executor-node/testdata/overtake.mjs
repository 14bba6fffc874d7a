// Has a run that gives up waiting for its turn between one that is still at work
// and a third, which must not overtake the first. Takes the path of service.mjs.
const {service} = await import(process.argv[2]);

const said = [];
let end;
const {implementation} = service({
  about: {name: "test", verbs: [1]},
  async run({step}) {
    said.push(`${step.id} begins`);
    if (step.id === "first") await new Promise((resolve) => (end = resolve)); // deaf to its signal
    said.push(`${step.id} ends`);
  },
});
const run = async (id) => {
  const step = {id, verb: 1, app: "shop", environment: "demo", part: "docs"};
  try {
    for await (const _ of implementation.run({step}, {signal: new AbortController().signal}));
  } catch {
    said.push(`${id} is stopped`);
  }
};
const turn = () => new Promise((resolve) => setImmediate(resolve));

const first = run("first");
await turn();
const second = run("second");
await turn();
implementation.cancel({stepId: "second"});
await second;
const third = run("third");
await turn();
end();
await Promise.all([first, third]);
console.log(said.join(", "));
