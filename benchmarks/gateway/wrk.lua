-- Posts one body over and over; prints its figures as one line of JSON.
--   wrk ... -s wrk.lua URL -- BODY_FILE whole|stream [Header: value]...
-- `stream`: an answer counts only when its last event, [DONE], arrived.

local threads = {}
complete, broken = 0, 0

function setup(thread)
  table.insert(threads, thread)
end

function init(args)
  local file = assert(io.open(args[1], "rb"))
  wrk.method = "POST"
  wrk.body = file:read("*a")
  file:close()
  wrk.headers["Content-Type"] = "application/json"
  for at = 3, #args do
    local name, value = args[at]:match("^([^:]+):%s*(.*)$")
    wrk.headers[name] = value
  end
  local made = wrk.format()
  request = function() return made end
  if args[2] == "stream" then
    response = function(status, headers, body)
      if status == 200 and body:find("data: [DONE]", -24, true) then
        complete = complete + 1
      else
        broken = broken + 1
      end
    end
  end
end

function done(summary, latency, requests)
  local whole, bad = 0, 0
  for _, thread in ipairs(threads) do
    whole, bad = whole + thread:get("complete"), bad + thread:get("broken")
  end
  local e = summary.errors
  print(string.format(
    'FIGURES {"requests": %d, "seconds": %.6f, "p50_ms": %.3f, "p99_ms": %.3f, "mean_ms": %.3f, '
      .. '"errors": %d, "complete": %d, "broken": %d}',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    latency.mean / 1e3, e.connect + e.read + e.write + e.status + e.timeout, whole, bad))
end
