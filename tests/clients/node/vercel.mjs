// The Vercel AI SDK, unchanged but for its base URL: node vercel.mjs BASE_URL WORDS PLACE HALF
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, generateObject, generateText, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

const [, , baseURL, words, place, half] = process.argv;
const provider = createOpenAICompatible({
  name: "cheapfirst",
  baseURL,
  apiKey: "none",
  includeUsage: true,
  supportsStructuredOutputs: true,
});
const seen = {};

const whole = await generateText({ model: provider("write"), prompt: `SAY ${words}`, maxRetries: 0 });
seen.text = whole.text;
seen.model = whole.response.modelId;
seen.tier = whole.response.headers["x-cheapfirst-tier"];

const stream = streamText({ model: provider("talk"), prompt: `SAY ${words}`, maxRetries: 0 });
seen.streamed = "";
for await (const piece of stream.textStream) seen.streamed += piece;
seen.tokens = (await stream.usage).outputTokens;

const schema = z.object({ city: z.string(), orders: z.array(z.number()) });
const parsed = await generateObject({ model: provider("extract"), schema, prompt: `SAY ${half} | ${place}`, maxRetries: 0 });
seen.parsed = parsed.object;
seen.parsedBy = parsed.response.modelId;

const orders = [];
const stepped = await generateText({
  model: provider("write"),
  prompt: "Where is order 7?",
  maxRetries: 0,
  stopWhen: stepCountIs(2),
  tools: {
    look_up: tool({
      description: "Look an order up.",
      inputSchema: z.object({ order: z.number().int() }),
      execute: async ({ order }) => {
        orders.push(order);
        return "SAY At sea.";
      },
    }),
  },
});
seen.orders = orders.map((order) => typeof order);
seen.told = stepped.text;

try {
  await generateText({ model: provider("wrote"), prompt: "Hi", maxRetries: 0 });
} catch (error) {
  seen.wrong = [APICallError.isInstance(error), error.statusCode];
}

console.log(JSON.stringify(seen));
