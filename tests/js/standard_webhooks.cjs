// The official JavaScript library for Standard Webhooks as a judge.
//
// Each line of stdin is a message: {"secret": "whsec_...", "headers": {...}, "body": "..."}. For each it prints a line:
// `good`, or why the library refuses it.

const { createInterface } = require("node:readline");
const { Webhook } = require("standardwebhooks");

createInterface({ input: process.stdin }).on("line", (line) => {
  const message = JSON.parse(line);
  try {
    new Webhook(message.secret).verify(message.body, message.headers, { jsonParse: false });
    console.log("good");
  } catch (error) {
    if (error.name !== "WebhookVerificationError") throw error;
    console.log(error.message);
  }
});
