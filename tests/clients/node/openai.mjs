// The openai package for Node, unchanged but for its base URL: node openai.mjs BASE_URL WORDS PLACE
import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";

const [, , baseURL, words, place, half] = process.argv;
const client = new OpenAI({ baseURL, apiKey: "none", maxRetries: 0 });
const user = (content) => [{ role: "user", content }];
const seen = {};

const whole = await client.chat.completions.create({
  model: "write",
  messages: user(`SAY ${words}`),
  metadata: { feature: "inbox" },
});
seen.text = whole.choices[0].message.content;
seen.model = whole.model;
seen.tier = whole.cheapfirst.tier;
seen.request = whole.cheapfirst.request_id;

const stream = await client.chat.completions.create({
  model: "talk",
  messages: user(`SAY ${words}`),
  stream: true,
  stream_options: { include_usage: true },
});
seen.streamed = "";
for await (const chunk of stream) {
  seen.streamed += chunk.choices[0]?.delta?.content ?? "";
  if (chunk.usage) seen.tokens = chunk.usage.completion_tokens;
}

const Place = z.object({ city: z.string(), orders: z.array(z.number()) });
const parsed = await client.chat.completions.parse({
  model: "extract",
  messages: user(`SAY ${half} | ${place}`),
  response_format: zodResponseFormat(Place, "place"),
});
seen.parsed = parsed.choices[0].message.parsed;
seen.parsedBy = parsed.model;

const tools = [
  {
    type: "function",
    function: {
      name: "look_up",
      description: "Look an order up.",
      parameters: { type: "object", properties: { order: { type: "integer" } }, required: ["order"] },
    },
  },
];
const asked = user("Where is order 7?");
const called = await client.chat.completions.create({ model: "write", messages: asked, tools, tool_choice: "required" });
const call = called.choices[0].message.tool_calls[0];
seen.called = call.function.name;
seen.order = typeof JSON.parse(call.function.arguments).order;
const again = await client.chat.completions.create({
  model: "write",
  messages: [...asked, called.choices[0].message, { role: "tool", tool_call_id: call.id, content: "SAY At sea." }],
  tools,
});
seen.told = again.choices[0].message.content;

seen.response = (await client.responses.create({ model: "write", input: `SAY ${words}` })).output_text;

try {
  await client.chat.completions.create({ model: "wrote", messages: user("Hi") });
} catch (error) {
  seen.wrong = [error instanceof OpenAI.NotFoundError, error.status, error.code];
}

console.log(JSON.stringify(seen));
