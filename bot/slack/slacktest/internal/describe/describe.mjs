// Turns the TypeScript types of Slack's own SDKs into JSON Schema: the arguments
// and answers of the Web API's methods, all of Block Kit that they hold, and what
// Slack sends to an app (sent.ts).
//
//   npm install @slack/bolt@5.1.0 @slack/web-api@8.2.0 @slack/types@3.2.0 typescript@5
//   node describe.mjs DIRECTORY_OF_NODE_MODULES testdata/slack.json.gz
//
// Four things differ from what a plain translation would give. Three because the
// types are there to help people who write code, and a stand-in must refuse more:
// `Block`, the type for blocks that the SDK does not know yet, is left out of
// unions; a method whose arguments are a union (text, or blocks, or both) becomes
// one object whose `anyOf` says what must be there; and `[key: string]: any`
// beside fields with names is no leave for others. The fourth because Slack makes
// the types of answers from samples, in which not every kind of block was: the
// blocks of an answer are described as those that are sent.
import fs from 'node:fs';
import path from 'node:path';
import zlib from 'node:zlib';
import { createRequire } from 'node:module';

const [modules, out] = process.argv.slice(2);
const ts = createRequire(path.resolve(modules, 'x.js'))('typescript');

const methods = {
  'auth.test': 'AuthTest', 'apps.connections.open': 'AppsConnectionsOpen', 'team.info': 'TeamInfo',
  'chat.postMessage': 'ChatPostMessage', 'chat.update': 'ChatUpdate', 'chat.delete': 'ChatDelete', 'chat.postEphemeral': 'ChatPostEphemeral',
  'chat.unfurl': 'ChatUnfurl', 'chat.getPermalink': 'ChatGetPermalink',
  'conversations.open': 'ConversationsOpen', 'conversations.info': 'ConversationsInfo', 'conversations.list': 'ConversationsList',
  'conversations.history': 'ConversationsHistory', 'conversations.replies': 'ConversationsReplies',
  'conversations.members': 'ConversationsMembers', 'conversations.join': 'ConversationsJoin',
  'users.info': 'UsersInfo', 'users.list': 'UsersList', 'usergroups.list': 'UsergroupsList', 'usergroups.users.list': 'UsergroupsUsersList',
  'views.open': 'ViewsOpen', 'views.update': 'ViewsUpdate', 'views.push': 'ViewsPush', 'views.publish': 'ViewsPublish',
  'files.getUploadURLExternal': 'FilesGetUploadURLExternal', 'files.completeUploadExternal': 'FilesCompleteUploadExternal',
  'reactions.add': 'ReactionsAdd',
};
const extra = { manifest: ['web-api/dist/types/request/manifest', 'Manifest'], view: ['types', 'View'], attachment: ['types', 'MessageAttachment'], block: ['types', 'KnownBlock'], suggestions: ['bolt', 'BlockOptions'] };

const entry = path.resolve(modules, '.describe.ts');
const source = Object.entries(methods).map(([m, t]) => `export type ${alias(m)} = import('@slack/web-api').${t}Arguments;`)
  .concat(Object.entries(methods).map(([m, t]) => `export type ${alias(answer(m))} = import('@slack/web-api').${t}Response;`))
  .concat(Object.entries(extra).map(([name, [from, t]]) => `export type ${alias(name)} = import('./@slack/${from}').${t};`))
  .concat(fs.readFileSync(new URL('sent.ts', import.meta.url), 'utf8')).join('\n');
fs.writeFileSync(entry, source);
const program = ts.createProgram([entry], { strict: true, module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext, target: ts.ScriptTarget.ES2022, skipLibCheck: true, types: [] });
const checker = program.getTypeChecker();
const file = program.getSourceFile(entry);
const defs = {};

function alias(name) { return name.replaceAll('.', '_'); }

function answer(method) { return `${method}.answer`; }

function declared(name) {
  const symbol = checker.getExportsOfModule(checker.getSymbolAtLocation(file)).find((s) => s.name === alias(name));
  const type = checker.getDeclaredTypeOfSymbol(symbol);
  if (type.flags & ts.TypeFlags.Any) throw new Error(`${name} has no type`);
  return type;
}

const isMarker = (type) => type.symbol?.name === 'Block';

function members(type) {
  if (!type.isUnion()) return [type];
  return type.types.filter((t) => !(t.flags & ts.TypeFlags.Undefined) && !isMarker(t));
}

function properties(type) {
  const props = {}, required = [];
  for (const p of checker.getPropertiesOfType(type)) {
    const t = checker.getTypeOfSymbol(p);
    if (t.flags & (ts.TypeFlags.Never | ts.TypeFlags.Undefined)) continue; // "may not be there" of one branch
    const sample = p.name === 'blocks' && p.declarations?.[0].getSourceFile().fileName.includes('/types/response/');
    props[p.name] = sample ? { type: 'array', items: schema(declared('block')) } : schema(t);
    if (!(p.flags & ts.SymbolFlags.Optional)) required.push(p.name);
  }
  return { props, required };
}

function object(type) {
  const { props, required } = properties(type);
  const index = checker.getIndexTypeOfType(type, ts.IndexKind.String);
  const named = Object.keys(props).length > 0;
  if (!named && !index) return { type: 'object' }; // The generated answers know no more of it.
  const s = { type: 'object', properties: props, additionalProperties: false };
  if (required.length) s.required = required.sort();
  const any = index && index.flags & (ts.TypeFlags.Any | ts.TypeFlags.Unknown);
  if (index && !(any && named)) s.additionalProperties = any ? true : schema(index);
  return s;
}

function schema(type) {
  const f = type.flags;
  if (f & (ts.TypeFlags.Any | ts.TypeFlags.Unknown)) return true;
  if (type.isStringLiteral() || type.isNumberLiteral()) return { enum: [type.value] };
  if (f & ts.TypeFlags.BooleanLiteral) return { enum: [type.intrinsicName === 'true'] };
  if (f & ts.TypeFlags.Boolean) return { type: 'boolean' };
  if (f & ts.TypeFlags.StringLike) return { type: 'string' };
  if (f & ts.TypeFlags.NumberLike) return { type: 'number' };
  if (f & ts.TypeFlags.Null) return { type: 'null' };
  if (f & ts.TypeFlags.NonPrimitive) return { type: 'object' };
  if (type.isUnion()) {
    const parts = members(type).map(schema);
    const enums = parts.filter((p) => p.enum).flatMap((p) => p.enum);
    const rest = [...new Map(parts.filter((p) => !p.enum).map((p) => [JSON.stringify(p), p])).values()];
    if (enums.length === 2 && enums.includes(true) && enums.includes(false)) rest.push({ type: 'boolean' });
    else if (enums.length) rest.push({ enum: enums.sort() });
    return rest.length === 1 ? rest[0] : { anyOf: rest };
  }
  if (checker.isTupleType(type)) return { type: 'array', minItems: type.target.minLength, items: schema(checker.getTypeArguments(type)[0]) };
  // An answer is WebAPICallResult and more, and both say what some lists hold.
  const lists = (type.isIntersection() ? type.types : [type]).filter((t) => checker.isArrayType(t));
  if (lists.length) return { type: 'array', items: schema(checker.getTypeArguments(lists[0])[0]) };
  // Records such as Record<string, string> have no name of their own.
  const name = type.aliasSymbol?.name ?? type.symbol?.name;
  const anonymous = !name || name === '__type' || (type.aliasTypeArguments?.length ?? 0) > 0 || type.isIntersection();
  if (anonymous) return object(type);
  const same = Object.keys(defs).find((d) => defs[d].source === type);
  if (same) return { $ref: same };
  let key = name;
  for (let n = 2; defs[key]; n++) key = name + n;
  defs[key] = { source: type };
  defs[key].schema = object(type);
  return { $ref: key };
}

// The arguments of a method: whatever any of its branches takes, and at least
// one branch's duties.
function args(type) {
  const branches = members(type).map(properties);
  const props = {};
  for (const b of branches) {
    for (const [name, s] of Object.entries(b.props)) {
      const all = props[name] ??= [];
      if (!all.some((o) => JSON.stringify(o) === JSON.stringify(s))) all.push(s);
    }
  }
  for (const name of Object.keys(props)) {
    const all = props[name];
    const truth = all.some((s) => s.type === 'boolean' || s.enum?.includes(true));
    const kept = all.filter((s) => !(truth && (s.type === 'boolean' || s.enum?.every((v) => typeof v === 'boolean'))));
    if (truth) kept.push({ type: 'boolean' });
    props[name] = kept.length === 1 ? kept[0] : { anyOf: kept };
  }
  const duties = [...new Set(branches.map((b) => JSON.stringify(b.required.sort())))].map((r) => ({ required: JSON.parse(r) }));
  const least = duties.filter((d) => !duties.some((o) => o !== d && o.required.every((r) => d.required.includes(r))));
  return { type: 'object', properties: props, additionalProperties: false, anyOf: least };
}

// Each file of answers has types of its own, many of them the same: one of those
// is kept, until no more are the same.
function merged(d) {
  for (;;) {
    const first = {}, instead = {};
    for (const [name, s] of Object.entries(d.defs)) {
      const text = JSON.stringify(s);
      if (first[text]) instead[name] = first[text]; else first[text] = name;
    }
    if (!Object.keys(instead).length) return d;
    for (const name of Object.keys(instead)) delete d.defs[name];
    d = JSON.parse(JSON.stringify(d), (key, value) => (key === '$ref' ? instead[value] ?? value : value));
  }
}

let description = { source: ['web-api', 'types', 'bolt'].map((p) => `@slack/${p} ${JSON.parse(fs.readFileSync(path.resolve(modules, '@slack', p, 'package.json'))).version}`), methods: {}, types: {}, sent: {}, defs: {} };
for (const m of Object.keys(methods)) {
  description.methods[m] = args(declared(m));
  description.sent[m] = object(declared(answer(m)));
}
for (const name of Object.keys(extra)) description.types[name] = schema(declared(name));
Object.assign(description.sent, object(declared('Sent')).properties);
for (const [name, d] of Object.entries(defs).sort(([a], [b]) => (a < b ? -1 : 1))) description.defs[name] = d.schema;
description = merged(description);
fs.unlinkSync(entry);
fs.writeFileSync(out, zlib.gzipSync(JSON.stringify(description), { level: 9 }));
console.log(`${Object.keys(description.methods).length} methods, ${Object.keys(description.defs).length} definitions`);
