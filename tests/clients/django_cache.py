#!/usr/bin/env python3
"""django_cache.py - Django's cache on django-redis: pickled values, several at
once, times to live, patterns."""
import os

import django_redis
from django.conf import settings

AT = os.environ.get("REDIS_PASSWORD", "")
URL = "redis://%s%s:%s/0" % (":" + AT + "@" if AT else "",
                             os.environ["REDIS_HOST"], os.environ["REDIS_PORT"])
settings.configure(CACHES={
    "default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": URL,
                "KEY_PREFIX": "app"},
    "zipped": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": URL,
               "KEY_PREFIX": "zip", "OPTIONS": {
                   "COMPRESSOR": "django_redis.compressors.zlib.ZlibCompressor",
                   "SERIALIZER":
                       "django_redis.serializers.json.JSONSerializer"}},
}, SESSION_ENGINE="django.contrib.sessions.backends.cache")
from django.contrib.sessions.backends.cache import SessionStore  # noqa: E402
from django.core.cache import caches  # noqa: E402


def step(name):
    print("ok " + name, flush=True)


def same(got, wanted):
    assert got == wanted, f"{got!r} instead of {wanted!r}"


def main():
    print("version " + django_redis.__version__)
    cache = caches["default"]
    django_redis.get_redis_connection().flushall()
    value = {"list": [1, None, b"\0\xff"], "text": "é"}
    same([cache.set("a", value, 100), cache.get("a"), cache.get("none", 7)],
         [True, value, 7])
    same([cache.add("a", 1), cache.add("b", 1), cache.has_key("b")],
         [False, True, True])
    same(cache.get_or_set("c", lambda: "made", 10), "made")
    step("set, get, add, get_or_set")
    cache.set_many({"m1": 1, "m2": "two"}, 60)
    same(cache.get_many(["m1", "none", "m2"]), {"m1": 1, "m2": "two"})
    same([cache.delete("m1"), cache.delete("m1"), cache.delete_many(["m2"])],
         [True, False, 1])
    step("several at once, delete")
    assert 90 < cache.ttl("a") <= 100 and cache.ttl("none") == 0
    same([cache.persist("a"), cache.ttl("a"), cache.expire("a", 50),
          cache.touch("a", 500)], [True, None, True, True])
    assert cache.ttl("a") > 400 and cache.pttl("a") > 400000
    step("ttl, persist, expire, touch")
    for i in range(200):
        cache.set(f"many:{i}", i)
    same(len(cache.keys("many:*")), 200)
    same(len(list(cache.iter_keys("many:1*"))), 111)
    same(cache.delete_pattern("many:1*", itersize=20), 111)
    same(len(cache.keys("many:*")), 89)
    step("keys, iter_keys, delete_pattern")
    zipped = caches["zipped"]
    zipped.set("large", "x" * 100000)
    same(zipped.get("large"), "x" * 100000)
    assert django_redis.get_redis_connection().strlen("zip:1:large") < 1000
    step("compressed JSON")
    session = SessionStore()
    session["user"] = "Ann"
    session.save()
    same(SessionStore(session.session_key)["user"], "Ann")
    session.flush()
    same(SessionStore(session.session_key).get("user"), None)
    step("sessions of Django")
    cache.clear()
    same(cache.get("a"), None)
    step("clear")


if __name__ == "__main__":
    main()
