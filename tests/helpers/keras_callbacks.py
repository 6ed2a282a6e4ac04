"""Keras' callbacks, transcribed as plain Python over one float at a time."""


def improves(value, reference, min_delta):
    """MonitorCallback._is_improvement of a loss."""
    return reference is None or value + min_delta < reference


def early_stopping(vals, patience, min_delta, start_from, baseline):
    """Keras' EarlyStopping: after each epoch (stopped, best, epoch of the best weights, wait)."""
    wait, best, best_epoch, stopped, trace = 0, None, None, False, []
    for epoch, val in enumerate(vals):
        if val is not None and epoch >= start_from:
            wait += 1
            if improves(val, best, min_delta):
                best, best_epoch = val, epoch
                if baseline is None or improves(val, baseline, min_delta):
                    wait = 0
            elif wait >= patience and epoch > 0:
                stopped = True
        trace.append((stopped, best, best_epoch, wait))
    return trace


def reduce_on_plateau(vals, rate, patience, factor, min_delta, cooldown, min_rate):
    """Keras' ReduceLROnPlateau: after each epoch (rate, best, wait, cooldown that is left)."""
    wait, best, left, trace = 0, None, 0, []
    for val in vals:
        if val is not None:
            if left > 0:
                left -= 1
                wait = 0
            if improves(val, best, min_delta):
                best, wait = val, 0
            elif left == 0:
                wait += 1
                if wait >= patience and rate > min_rate:
                    rate = max(rate * factor, min_rate)
                    left, wait = cooldown, 0
        trace.append((rate, best, wait, left))
    return trace
