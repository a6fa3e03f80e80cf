// Express with express-session and connect-redis: `node express_server.js PORT REDIS_URL`.
'use strict';
const express = require('express');
const session = require('express-session');
const { RedisStore } = require('connect-redis');
const { createClient } = require('redis');

const IDLE_SECONDS = 1800;
const [port, redisUrl] = process.argv.slice(2);
const client = createClient({ url: redisUrl });
const app = express();
app.disable('etag');
app.disable('x-powered-by');
// The store's idle lifetime starts again at each request: express-session touches what has not changed.
app.use(session({
  store: new RedisStore({ client, ttl: IDLE_SECONDS }),
  name: 'sid', secret: 'of this measurement', resave: false, saveUninitialized: false,
}));

// Begin a session of three keys and a user.
app.post('/login', express.json(), (request, response) => {
  Object.assign(request.session, request.body);
  response.json({ pid: process.pid });
});

app.get('/', (request, response) => {
  const { user, visits } = request.session;
  if (user === undefined) response.sendStatus(401);
  else response.json({ user, visits });
});

client.connect().then(() => app.listen(Number(port), '127.0.0.1'));
