# puma forks its workers; each becomes the program of the bench at once.
workers Integer(ENV.fetch('BENCH_COUNT'))
bind "unix://#{ENV.fetch('BENCH_DIR')}/puma.sock"
worker_timeout 3600 # the program knows nothing of puma's pings
worker_boot_timeout 3600
app { |_env| [204, {}, []] }
on_worker_boot { exec ENV.fetch('BENCH_PROGRAM') }
