// A real authorization server for the tests: panva's oidc-provider with rotation on and no grace.
// A refresh token that is presented twice destroys its whole family, as RFC 9700 asks for.
//
// Two servers on loopback, each on a port of the system's choosing: the issuer, exactly as
// oidc-provider has it, and a control server that mints a first pair without a browser and tells
// what happened. One JSON line on standard output says where they are. The process ends when its
// standard input does, so it cannot outlive the test that started it.
//
//   POST /pair?sub=alice    a new grant; the token answer that a sign-in would have given
//   GET  /families          [{grant, sub, alive, spends}]
//   GET  /events            [{at, kind, grant, error}], kind granted | refused | revoked
//   GET  /tokens            every token value ever issued (for the search for leaks)
//   POST /set?access_ttl=&delay_ms=
//
// Environment: ACCESS_TTL (seconds, 60), TOKEN_DELAY_MS (between commit and answer, 0).

import { once } from 'node:events';
import { createServer } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';

import Provider from 'oidc-provider';

const CLIENT_ID = 'credwarden-test';
const SCOPE = 'openid email offline_access';

const settings = {
  accessTtl: Number(process.env.ACCESS_TTL ?? 60),
  delayMs: Number(process.env.TOKEN_DELAY_MS ?? 0),
};
const events = [];
const families = new Map(); // grant id → {sub, alive, spends}
const issued = new Set();

// The adapter that oidc-provider brings forgets the oldest of 1,000 entries; this one forgets
// nothing, so that a token refused is never a token evicted.
const rows = new Map();
class MemoryAdapter {
  constructor(model) {
    this.model = model;
  }

  key(id) {
    return `${this.model}:${id}`;
  }

  async upsert(id, payload) {
    rows.set(this.key(id), payload);
    if (this.model === 'AccessToken' || this.model === 'RefreshToken') issued.add(id);
  }

  async find(id) {
    return rows.get(this.key(id));
  }

  async findByUid(uid) {
    return [...rows.values()].find((row) => row.uid === uid);
  }

  async findByUserCode(code) {
    return [...rows.values()].find((row) => row.userCode === code);
  }

  async consume(id) {
    rows.get(this.key(id)).consumed = Math.floor(Date.now() / 1000);
  }

  async destroy(id) {
    rows.delete(this.key(id));
  }

  async revokeByGrantId(grantId) {
    for (const [key, row] of rows) {
      if (row.grantId === grantId) rows.delete(key);
    }
  }
}

function note(kind, grant, error) {
  events.push({ at: Date.now(), kind, grant, error });
}

async function listen(server) {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return `http://127.0.0.1:${server.address().port}`;
}

const issuerServer = createServer();
const issuer = await listen(issuerServer);

const provider = new Provider(issuer, {
  adapter: MemoryAdapter,
  clients: [{
    client_id: CLIENT_ID,
    token_endpoint_auth_method: 'none',
    application_type: 'native',
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    redirect_uris: ['http://127.0.0.1/callback'],
  }],
  scopes: ['openid', 'email', 'offline_access'],
  claims: { openid: ['sub'], email: ['email'] },
  features: { devInteractions: { enabled: false } },
  rotateRefreshToken: true,
  ttl: {
    AccessToken: () => settings.accessTtl,
    RefreshToken: 86400,
    Grant: 86400,
    IdToken: 3600,
  },
  findAccount: (ctx, id) => ({
    accountId: id,
    claims: () => ({ sub: id, email: `${id}@example.test` }),
  }),
  cookies: { keys: ['not a secret: no browser ever comes here'] },
});

provider.use(async (ctx, next) => {
  await next();
  if (ctx.body?.id_token) issued.add(ctx.body.id_token);
  if (ctx.path === '/token' && settings.delayMs > 0) await sleep(settings.delayMs);
});
provider.on('grant.success', (ctx) => {
  const grant = ctx.oidc.entities.RefreshToken?.grantId;
  if (families.has(grant)) families.get(grant).spends += 1;
  note('granted', grant);
});
provider.on('grant.error', (ctx, err) => {
  note('refused', ctx.oidc?.entities?.RefreshToken?.grantId, err.error_detail ?? err.error);
});
provider.on('grant.revoked', (ctx, grant) => {
  if (families.has(grant)) families.get(grant).alive = false;
  note('revoked', grant);
});
issuerServer.on('request', provider.callback());

async function mintPair(sub) {
  const client = await provider.Client.find(CLIENT_ID);
  const grant = new provider.Grant({ accountId: sub, clientId: CLIENT_ID });
  grant.addOIDCScope(SCOPE);
  const grantId = await grant.save();
  families.set(grantId, { sub, alive: true, spends: 0 });

  const common = {
    accountId: sub, client, grantId, gty: 'authorization_code', scope: SCOPE,
  };
  const refresh = new provider.RefreshToken({
    ...common, authTime: Math.floor(Date.now() / 1000), rotations: 0,
  });
  const access = new provider.AccessToken(common);
  return {
    access_token: await access.save(),
    refresh_token: await refresh.save(),
    token_type: 'Bearer',
    expires_in: settings.accessTtl,
    scope: SCOPE,
  };
}

function set(query) {
  if (query.has('access_ttl')) settings.accessTtl = Number(query.get('access_ttl'));
  if (query.has('delay_ms')) settings.delayMs = Number(query.get('delay_ms'));
  return settings;
}

const routes = {
  'POST /pair': (query) => mintPair(query.get('sub') ?? 'alice'),
  'GET /families': () => [...families].map(([grant, family]) => ({ grant, ...family })),
  'GET /events': () => events,
  'GET /tokens': () => [...issued],
  'POST /set': set,
};

const controlServer = createServer(async (req, res) => {
  const url = new URL(req.url, 'http://control');
  const route = routes[`${req.method} ${url.pathname}`];
  const answer = route ? await route(url.searchParams) : { error: 'no such control' };
  res.writeHead(route ? 200 : 404, { 'content-type': 'application/json' });
  res.end(JSON.stringify(answer));
});
const control = await listen(controlServer);

console.log(JSON.stringify({ issuer, control, client_id: CLIENT_ID }));
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
