"""What Redis does for us at once and whole: nothing comes between the lines of a script."""

# Keep a message, unless one with its key is kept; return its id. With an id of 0-* the server
# counts: 0-1, 0-2, 0-3.
APPEND = """
local id = redis.call('HGET', KEYS[2], ARGV[1])
if not id then
  id = redis.call('XADD', KEYS[1], '0-*', 'name', ARGV[2], 'text', ARGV[3], 'at', ARGV[4])
  redis.call('HSET', KEYS[2], ARGV[1], id)
end
return id
"""

# Add an event, unless this is the same one once more, and forget those that are old or too many.
# With an id of * the server takes its own time, in milliseconds.
TELL = """
if redis.call('SET', KEYS[2], 1, 'NX', 'PX', 60000) then
  redis.call('XADD', KEYS[1], 'MAXLEN', ARGV[2], '*', 'event', ARGV[1])
  redis.call('XTRIM', KEYS[1], 'MINID', redis.call('TIME')[1] - ARGV[3] .. '000')
end
"""

# Have a fact, unless there is another by this name; return what it is now.
CLAIM = """
local now = redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2], 'NX', 'GET') or ARGV[1]
if now == ARGV[1] then
  redis.call('PEXPIRE', KEYS[1], ARGV[2], 'GT')
end
return now
"""

# Forget a fact, if it is this; return whether it was.
DROP = "return redis.call('GET', KEYS[1]) == ARGV[1] and redis.call('DEL', KEYS[1]) or 0"
