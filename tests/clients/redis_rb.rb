# redis_rb.rb - redis-rb: types, pipelined, multi, scan_each, info.
require "redis"

$stdout.sync = true
OPTIONS = { host: ENV.fetch("REDIS_HOST"), port: ENV.fetch("REDIS_PORT").to_i }
PASSWORD = ENV.fetch("REDIS_PASSWORD", "")
OPTIONS[:password] = PASSWORD unless PASSWORD.empty?

def step(name)
  puts "ok #{name}"
end

def same(got, wanted)
  raise "#{got.inspect} instead of #{wanted.inspect}" unless got == wanted
end

def raises(kind, words)
  yield
rescue kind => e
  raise "#{e.message.inspect} without #{words}" unless e.message.include?(words)
else
  raise "no #{kind}"
end

def strings(r)
  bytes = (0..255).map(&:chr).join.b
  same r.set("s", bytes, ex: 100), "OK"
  same r.get("s").b, bytes
  same r.set("s", "x", nx: true), false
  same r.mset("a", 1, "b", 2), "OK"
  same r.mapped_mget("a", "b", "none"), { "a" => "1", "b" => "2", "none" => nil }
  same [r.incr("a"), r.incrby("a", 8), r.incrbyfloat("b", 0.5)], [2, 10, 2.5]
  same [r.append("a", "x"), r.getrange("a", 0, 1), r.getdel("a")], [3, "10", "10x"]
  same [r.expire("b", 10), (1..10).cover?(r.ttl("b")), r.persist("b"), r.ttl("b")],
       [true, true, true, -1]
  step "strings and expiry"
end

def collections(r)
  same r.hset("h", { "name" => "Ann", "age" => 7 }), 2
  same r.hgetall("h"), { "name" => "Ann", "age" => "7" }
  same [r.hincrby("h", "age", 1), r.hmget("h", "age", "none"), r.hexists("h", "x")],
       [8, ["8", nil], false]
  step "hashes"
  same [r.rpush("l", %w[a b c]), r.lpop("l"), r.lrange("l", 0, -1)], [3, "a", %w[b c]]
  same [r.lmove("l", "l2", "LEFT", "RIGHT"), r.llen("l")], ["b", 1]
  step "lists"
  same [r.sadd?("t", "a"), r.sadd?("t", "a"), r.sadd("t", %w[b c])], [true, false, 2]
  same [r.smembers("t").sort, r.sismember("t", "z")], [%w[a b c], false]
  step "sets"
  same r.zadd("z", [[1.5, "a"], [2, "b"], [1_795_326_698.5, "c"]]), 3
  same r.zrange("z", 0, -1, with_scores: true),
       [["a", 1.5], ["b", 2.0], ["c", 1_795_326_698.5]]
  same [r.zrangebyscore("z", "(1.5", "+inf", limit: [0, 1]), r.zscore("z", "none"),
        r.zincrby("z", 0.25, "a"), r.zpopmax("z")],
       [["b"], nil, 1.75, ["c", 1_795_326_698.5]]
  step "sorted sets"
  same [r.pfadd("hll", %w[a b]), r.pfcount("hll")], [true, 2]
  same r.geoadd("geo", 13.361389, 38.115556, "Palermo"), 1
  step "HyperLogLog and places"
end

def pipelines(r)
  same r.pipelined { |p| p.set("p", 1); p.incr("p"); p.get("p") }, ["OK", 2, "2"]
  same r.multi { |m| m.incr("p"); m.hgetall("h") }, [3, { "name" => "Ann", "age" => "8" }]
  got = r.watch("p") do
    Redis.new(**OPTIONS).set("p", "else")
    r.multi { |m| m.set("p", "mine") }
  end
  same [got, r.get("p")], [nil, "else"]
  raises(Redis::CommandError, "not an integer") { r.multi { |m| m.incr("p") } }
  step "pipelined, multi, watch"
end

def scans(r)
  r.pipelined { |p| 300.times { |i| p.set("scan:#{i}", i) } }
  same r.scan_each(match: "scan:*", count: 50).to_a.uniq.size, 300
  same r.scan_each(type: "zset").to_a.sort, %w[geo z]
  same [r.hscan_each("h").to_a.sort, r.sscan_each("t").to_a.sort, r.zscan_each("z").to_a.size],
       [[%w[age 8], %w[name Ann]], %w[a b c], 2]
  step "scan_each"
end

def server(r)
  info = r.info
  same [info["redis_mode"], info["role"]], %w[standalone master]
  same r.info("commandstats")["get"]["calls"].to_i.positive?, true
  same r.config(:get, "maxmemory-policy"), { "maxmemory-policy" => "noeviction" }
  same [r.ping, r.echo("x"), r.dbsize > 300, r.time.size], ["PONG", "x", true, 2]
  same r.client(:list).size.positive?, true
  raises(Redis::CommandError, "WRONGTYPE Operation against a key") { r.lpush("h", 1) }
  raises(Redis::CommandError, "DB index is out of range") { r.select(1) }
  same r.call("COMMAND", "COUNT") > 200, true
  step "info, config, clients, errors"
end

puts "version #{Redis::VERSION}"
r = Redis.new(**OPTIONS)
r.flushall
strings(r)
collections(r)
pipelines(r)
scans(r)
server(r)
at = PASSWORD.empty? ? "" : ":#{PASSWORD}@"
url = "redis://#{at}#{OPTIONS[:host]}:#{OPTIONS[:port]}/0"
same Redis.new(url: url, id: "by-url").client(:getname), "by-url"
step "an URL with database 0"
unless PASSWORD.empty?
  raises(Redis::CommandError, "NOAUTH") { Redis.new(**OPTIONS, password: nil).ping }
  raises(Redis::BaseError, "WRONGPASS") { Redis.new(**OPTIONS, password: "wrong").ping }
  step "passwords"
end
r.quit
