"""linear.py - is a history of one register linearizable?

A register holds an int or nothing. An operation has a begin, an end (None: it
was never answered) and a kind: set (value), get, incr, del, with what it gave.
A history is checked by walking its begins and ends in order of time with every
state that is possible (Wing and Gong, made small by Lowe): a state is the value
and which of the open operations have taken effect. At an end, those states go
on in which the operation has taken effect, with the result that it gave. What
was never answered may take effect until the server is gone, not later.
"""
STATES_MAX = 200_000


class Operation:
    __slots__ = ("kind", "value", "result", "begin", "end", "who")

    def __init__(self, kind, value, begin, who=""):
        self.kind, self.value, self.begin, self.who = kind, value, begin, who
        self.result = self.end = None

    def answered(self, result, end):
        self.result, self.end = result, end

    def __repr__(self):
        return "%s %s%s gave %s" % (self.who, self.kind,
                                    "" if self.value is None else " %d" % self.value,
                                    self.result)

    def apply(self, value):
        """The value afterwards; False when it cannot have taken effect here."""
        if self.kind == "set":
            return self.value
        if self.kind == "get":
            after, result = value, value
        elif self.kind == "incr":
            after = result = (value or 0) + 1
        else:
            after, result = None, int(value is not None)
        return after if self.end is None or result == self.result else False


class Undecided(Exception):
    """More states than can be held."""


def reach(state, begun, wanted):
    """The states that follow when open operations take effect until `wanted`
    has; without `wanted` all that can be reached."""
    found, left = set(), [state]
    seen = {state}
    while left:
        value, done = left.pop()
        if wanted is None or wanted in done:
            found.add((value, done))
            if wanted is not None:
                continue
        for operation in begun:
            if operation in done:
                continue
            after = operation.apply(value)
            if after is False:
                continue
            following = (after, done | {operation})
            if following not in seen:
                seen.add(following)
                left.append(following)
        if len(seen) > STATES_MAX:
            raise Undecided
    return found


def check(operations, deaths, first=None):
    """None when it is linearizable, else the operation that cannot be. `deaths`
    are the moments between two lives of the server, when nothing runs."""
    events = [(o.begin, 0, i) for i, o in enumerate(operations)]
    events += [(o.end, 1, i) for i, o in enumerate(operations) if o.end is not None]
    events += [(moment, 2, 0) for moment in deaths]
    states, begun = {(first, frozenset())}, set()
    for _, what, index in sorted(events):
        if what == 0:
            begun.add(operations[index])
        elif what == 2:
            states = {(value, frozenset()) for state in states
                      for value, _ in reach(state, begun, None)}
            begun = set()
        else:
            operation = operations[index]
            after = set()
            for state in states:
                after |= {(value, done - {operation})
                          for value, done in reach(state, begun, operation)}
            begun.discard(operation)
            states = after
            if not states:
                return operation
        if len(states) > STATES_MAX:
            raise Undecided
    return None
