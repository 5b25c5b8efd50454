-- Brings the keys of one tenant from the layout before hash tags (`h:default:7`) to the one with
-- them (`h:{default}:7`), while no service runs:
--
--   redis-cli --eval deploy/redis/rename-keys.lua , default
--
-- Profiles are made anew by the new service, so theirs are deleted, with leases and versions.
-- The server answers nobody else meanwhile: about a second for a million keys.
-- Returns how many keys were renamed and how many were deleted.
local tenant, cursor, renamed, deleted = ARGV[1], '0', 0, 0
repeat
  local page = redis.call('SCAN', cursor, 'MATCH', '[hiloprst]:' .. tenant .. '*', 'COUNT', 1000)
  cursor = page[1]
  for _, key in ipairs(page[2]) do
    local rest = string.sub(key, 3 + #tenant)
    if rest == '' or string.sub(rest, 1, 1) == ':' then
      local kind = string.sub(key, 1, 1)
      if kind == 'p' or kind == 'l' then
        deleted = deleted + redis.call('UNLINK', key)
      else
        redis.call('RENAME', key, kind .. ':{' .. tenant .. '}' .. rest)
        renamed = renamed + 1
      end
    end
  end
until cursor == '0'
return {renamed, deleted + redis.call('UNLINK', 'reclm:versions')}
