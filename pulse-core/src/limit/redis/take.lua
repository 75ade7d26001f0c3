-- Gives back what was not spent, then takes from a bucket: the least that is of use, or up to what is wanted.
-- KEYS[1]: when the bucket is full again, in microseconds. ARGV: limit a minute, least, wanted, given back.
-- Answers what was taken, and in how many microseconds the bucket is full again.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local minute = 60000000
local each = minute / ARGV[1]
local full = tonumber(redis.call('GET', KEYS[1])) or now
-- A clock that was set back must not close a bucket for longer than a minute.
full = math.min(math.max(full - ARGV[4] * each, now), now + minute)
-- What is kept is rounded to a microsecond; that must not cost a request.
local free = math.floor((now + minute - full + 1) / each)
local granted = 0
if free >= tonumber(ARGV[2]) then
    granted = math.min(free, tonumber(ARGV[3]))
    full = full + granted * each
end
if full > now then
    redis.call('SET', KEYS[1], string.format('%.0f', full), 'PX', math.ceil((full - now) / 1000))
end
return { granted, math.max(math.ceil(full - now), 0) }
