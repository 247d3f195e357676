// Which view the address means.
import { api } from "./api.js";
import { build } from "./build.js";
import { overview } from "./overview.js";

const found = location.pathname.match(/^\/builds\/([^/]+\/[^/]+)\/([^/]+)$/);
if (found) build(found[1], found[2]);
else if (location.pathname === "/api") api();
else overview();
