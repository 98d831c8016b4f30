#!/usr/bin/perl
# redis_pm.pl - Redis.pm: types, keys, info, hashes in list context.
use strict;
use warnings FATAL => 'all';
use Redis;
use Data::Dumper;

$| = 1;
$Data::Dumper::Indent = 0;
$Data::Dumper::Sortkeys = 1;
my @address = (
    server    => "$ENV{REDIS_HOST}:$ENV{REDIS_PORT}",
    name      => 'tester',
    reconnect => 1,
);
my $password = $ENV{REDIS_PASSWORD} // '';
my @options  = $password ne '' ? (@address, password => $password) : @address;

sub step { print "ok $_[0]\n" }

sub same {
    my ($got, $wanted) = map { Dumper($_) =~ s/'(-?\d+)'/$1/gr } @_;
    die "$got instead of $wanted\n" if $got ne $wanted;
}

sub raises {
    my ($call, $words) = @_;
    die "no error\n" if eval { $call->(); 1 };
    die "$@ without $words" if index($@, $words) < 0;
}

print "version $Redis::VERSION\n";
my $r = Redis->new(@options);
$r->flushall;
same($r->client_getname, 'tester');
same($r->ping,           'PONG');
step('a connection with a name');

my $bytes = join '', map { chr } 0 .. 255;
same($r->set(s => $bytes, 'EX', 100), 'OK');
same($r->get('s'),                    $bytes);
same([$r->get('none'), $r->mset(a => 1, b => 2)], [undef, 'OK']);
same([$r->mget('a', 'none', 'b')], [1, undef, 2]);
same([$r->incr('a'), $r->incrby('a', 8), $r->exists('a')], [2, 10, 1]);
same($r->ttl('s') > 90 ? 1 : 0, 1);
step('strings');

same($r->hset('h', name => 'Ann', age => 7), 2);
my %hash = $r->hgetall('h');
same(\%hash, { name => 'Ann', age => 7 });
same([sort $r->hkeys('h')], ['age', 'name']);
same([$r->rpush('l', qw(a b c)), $r->lrange('l', 0, -1)], [3, qw(a b c)]);
same([$r->sadd('t', qw(a b)), sort $r->smembers('t')], [2, qw(a b)]);
same([$r->zadd('z', 1.5, 'a', 2, 'b')],                [2]);
same([$r->zrange('z', 0, -1, 'WITHSCORES')], ['a', '1.5', 'b', 2]);
step('hashes in list context, lists, sets, sorted sets');

same([sort $r->keys('[ab]')], ['a', 'b']);
my (%found, $cursor);
$r->set("scan:$_", $_) for 1 .. 100;
$cursor = 0;
do {
    my ($next, $keys) = $r->scan($cursor, 'MATCH', 'scan:*', 'COUNT', 30);
    $found{$_} = 1 for @$keys;
    $cursor = $next;
} while $cursor;
same(scalar(keys %found), 100);
step('keys and scan');

my @replies;
$r->rpush('many', $_, sub { push @replies, $_[0] }) for 1 .. 1000;
$r->wait_all_responses;
same([scalar(@replies), $replies[-1]], [1000, 1000]);
step('a pipeline of callbacks');

$r->multi;
$r->incr('n');
$r->get('none');
same([$r->exec], [1, undef]);
$r->watch('n');
Redis->new(@options)->set(n => 'else');
$r->multi;
$r->set(n => 'mine');
same([$r->exec, $r->get('n')], [undef, 'else']);
step('MULTI and WATCH');

my $info = $r->info;
same([$info->{redis_mode}, $info->{role}, $info->{tcp_port}],
    ['standalone', 'master', $ENV{REDIS_PORT}]);
same({ $r->config_get('maxmemory-policy') },
    { 'maxmemory-policy' => 'noeviction' });
raises(sub { $r->lpush('h', 1) }, 'WRONGTYPE Operation against a key');
raises(sub { $r->select(1) },     'DB index is out of range');
same([$r->dbsize > 100 ? 1 : 0, $r->echo('x')], [1, 'x']);
step('info, config, errors');

if ($password ne '') {
    raises(sub { Redis->new(server => $address[1])->get('a') }, 'NOAUTH');
    raises(sub { Redis->new(@address, password => 'wrong') },
        'WRONGPASS');
    step('passwords');
}
$r->quit;
