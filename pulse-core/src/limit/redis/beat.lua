-- Says that a daemon lives, and forgets those that have not said so lately.
-- KEYS[1]: daemons by when they last said so, in milliseconds. ARGV: the daemon, for how long it is remembered.
-- Answers how many there are.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[2])
-- What a clock that was set back has left behind.
redis.call('ZREMRANGEBYSCORE', KEYS[1], now + ARGV[2], '+inf')
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return redis.call('ZCARD', KEYS[1])
