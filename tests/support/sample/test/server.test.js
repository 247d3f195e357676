'use strict';

const assert = require('node:assert/strict');
const { once } = require('node:events');
const { test } = require('node:test');
const { greeting, server } = require('../server.js');

test('greets by name, and says for how long', () => {
  assert.equal(greeting('Ada', 120), 'Hello, Ada! Up for 2 minutes.\n');
});

test('answers over HTTP', async () => {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const response = await fetch(`http://127.0.0.1:${server.address().port}/?name=Grace`);
  assert.match(await response.text(), /^Hello, Grace! Up for /);
  server.close();
});
