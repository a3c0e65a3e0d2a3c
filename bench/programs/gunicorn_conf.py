# gunicorn forks its workers; each becomes the program of the bench at once, before it loads an application.
import os

bind = 'unix:' + os.environ['BENCH_DIR'] + '/gunicorn.sock'
workers = int(os.environ['BENCH_COUNT'])
timeout = 0  # the program knows nothing of gunicorn's heartbeat


def post_fork(server, worker):
    os.execv(os.environ['BENCH_PROGRAM'], [os.environ['BENCH_PROGRAM']])


def app(environ, start_response):
    start_response('204 No Content', [])
    return []
