// Makes calls with Microsoft Graph's JavaScript client: each line in is a call, each line out is what came of it.
"use strict";

const { createInterface } = require("node:readline");
const { Client, GraphError } = require("@microsoft/microsoft-graph-client");

const [baseUrl, token] = process.argv.slice(2);
const client = Client.initWithMiddleware({
    baseUrl,
    customHosts: new Set([new URL(baseUrl).hostname]),
    authProvider: { getAccessToken: async () => token },
});

async function outcome({ method, path, body }) {
    try {
        return { value: await client.api(path)[method](body) };
    } catch (error) {
        if (!(error instanceof GraphError)) throw error;
        const { statusCode, code, message, requestId } = error;
        return { error: { statusCode, code, message, requestId } };
    }
}

async function main() {
    for await (const line of createInterface({ input: process.stdin })) {
        console.log(JSON.stringify(await outcome(JSON.parse(line))));
    }
}

main();
