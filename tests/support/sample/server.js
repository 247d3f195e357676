'use strict';

const http = require('node:http');
const ms = require('ms');

const greeting = (name = 'world', seconds = process.uptime()) =>
  `Hello, ${name}! Up for ${ms(Math.round(seconds) * 1000, { long: true })}.\n`;

const server = http.createServer((request, response) => {
  const { searchParams } = new URL(request.url, 'http://localhost');
  response.setHeader('Content-Type', 'text/plain; charset=utf-8');
  response.end(greeting(searchParams.get('name') ?? undefined));
});

if (require.main === module) {
  server.listen(process.env.PORT ?? 3000);
  process.once('SIGTERM', () => server.close());
}

module.exports = { greeting, server };
