// redigo.go - redigo: a pool, pipelines, replies into structs, WATCH.
package main

import (
	"bytes"
	"fmt"
	"os"
	"sync"

	"github.com/gomodule/redigo/redis"
)

var address = os.Getenv("REDIS_HOST") + ":" + os.Getenv("REDIS_PORT")

func step(name string) {
	fmt.Println("ok " + name)
}

func check(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func same(got, wanted interface{}) {
	g, w := fmt.Sprintf("%q", got), fmt.Sprintf("%q", wanted)
	if g != w {
		check(fmt.Errorf("%s instead of %s", g, w))
	}
}

func dial() (redis.Conn, error) {
	return redis.Dial("tcp", address, redis.DialClientName("tester"),
		redis.DialDatabase(0),
		redis.DialPassword(os.Getenv("REDIS_PASSWORD")))
}

func types(c redis.Conn) {
	name, err := redis.String(c.Do("CLIENT", "GETNAME"))
	check(err)
	same(name, "tester")
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	_, err = c.Do("SET", "s", all, "EX", 100)
	check(err)
	got, err := redis.Bytes(c.Do("GET", "s"))
	check(err)
	same(bytes.Equal(got, all), true)
	_, err = redis.String(c.Do("GET", "none"))
	same(err, redis.ErrNil)
	step("bytes, nil, the name of the connection")

	type user struct {
		Name string `redis:"name"`
		Age  int    `redis:"age"`
	}
	_, err = c.Do("HSET", redis.Args{}.Add("h").AddFlat(user{"Ann", 7})...)
	check(err)
	values, err := redis.Values(c.Do("HGETALL", "h"))
	check(err)
	var read user
	check(redis.ScanStruct(values, &read))
	same(read, user{"Ann", 7})
	words, err := redis.StringMap(c.Do("HGETALL", "h"))
	check(err)
	same(words, map[string]string{"name": "Ann", "age": "7"})
	step("structs and maps from hashes")

	_, err = c.Do("ZADD", "z", 1.5, "a", 2, "b")
	check(err)
	score, err := redis.Float64(c.Do("ZSCORE", "z", "a"))
	check(err)
	same(score, 1.5)
	ranked, err := redis.Strings(c.Do("ZREVRANGE", "z", 0, -1))
	check(err)
	same(ranked, []string{"b", "a"})
	places, err := redis.Positions(c.Do("GEOPOS", "z", "none"))
	check(err)
	same(len(places), 1)
	_, err = c.Do("LPUSH", "h", "x")
	same(err, redis.Error("WRONGTYPE Operation against a key holding the "+
		"wrong kind of value"))
	step("sorted sets and errors")
}

func pipelines(c redis.Conn) {
	for i := 0; i < 10000; i++ {
		check(c.Send("RPUSH", "list", i))
	}
	check(c.Flush())
	for i := 0; i < 10000; i++ {
		size, err := redis.Int(c.Receive())
		check(err)
		same(size, i+1)
	}
	step("10,000 commands in a pipeline")
	check(c.Send("MULTI"))
	check(c.Send("INCR", "n"))
	check(c.Send("GET", "none"))
	replies, err := redis.Values(c.Do("EXEC"))
	check(err)
	same(replies, []interface{}{int64(1), nil})
	other, err := dial()
	check(err)
	defer other.Close()
	_, err = c.Do("WATCH", "n")
	check(err)
	_, err = other.Do("SET", "n", "else")
	check(err)
	check(c.Send("MULTI"))
	check(c.Send("SET", "n", "mine"))
	reply, err := c.Do("EXEC")
	check(err)
	same(reply, nil)
	step("MULTI and WATCH")
}

func pooled() {
	pool := &redis.Pool{Dial: dial, MaxActive: 8, MaxIdle: 8, Wait: true}
	var all sync.WaitGroup
	for i := 0; i < 32; i++ {
		all.Add(1)
		go func() {
			defer all.Done()
			for j := 0; j < 50; j++ {
				c := pool.Get()
				_, err := c.Do("INCR", "pooled")
				check(err)
				check(c.Close())
			}
		}()
	}
	all.Wait()
	c := pool.Get()
	total, err := redis.Int(c.Do("GET", "pooled"))
	check(err)
	same(total, 1600)
	check(c.Close())
	check(pool.Close())
	step("a pool")
}

func scans(c redis.Conn) {
	for i := 0; i < 300; i++ {
		_, err := c.Do("SET", fmt.Sprintf("scan:%d", i), i)
		check(err)
	}
	found := map[string]bool{}
	for cursor := 0; ; {
		var keys []string
		values, err := redis.Values(c.Do("SCAN", cursor, "MATCH", "scan:*"))
		check(err)
		_, err = redis.Scan(values, &cursor, &keys)
		check(err)
		for _, key := range keys {
			found[key] = true
		}
		if cursor == 0 {
			break
		}
	}
	same(len(found), 300)
	step("SCAN")
}

func main() {
	c, err := dial()
	check(err)
	_, err = c.Do("FLUSHALL")
	check(err)
	types(c)
	pipelines(c)
	pooled()
	scans(c)
	at := ""
	if password := os.Getenv("REDIS_PASSWORD"); password != "" {
		at = ":" + password + "@"
		_, err = redis.Dial("tcp", address, redis.DialPassword("wrong"))
		same(err, redis.Error("WRONGPASS invalid username-password pair or "+
			"user is disabled."))
		step("a wrong password")
	}
	c, err = redis.DialURL("redis://" + at + address + "/0")
	check(err)
	_, err = c.Do("PING")
	check(err)
	_, err = redis.DialURL("redis://" + at + address + "/1")
	same(err, redis.Error("ERR DB index is out of range"))
	step("an URL with database 0, and no other")
}
