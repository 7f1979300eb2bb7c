-- wrk -s load.lua URL -- LIST CONTENT_TYPE: posts the files named in LIST in turn, and ends with one line of JSON.
local posts, turn = {}, 0

function init(arguments)
  for path in io.lines(arguments[1]) do
    local file = assert(io.open(path, "rb"))
    posts[#posts + 1] = wrk.format("POST", nil, { ["Content-Type"] = arguments[2] }, file:read("*a"))
    file:close()
  end
end

function request()
  turn = turn % #posts + 1
  return posts[turn]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\n{"requests": %d, "microseconds": %d, "p50": %d, "p99": %d, "status": %d, "socket": %d, "timeout": %d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.status, errors.connect + errors.read + errors.write, errors.timeout))
end
