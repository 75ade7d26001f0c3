complete --keep-order --exclusive --command pulse --arguments "(COMPLETE=fish pulse -- (commandline --current-process --tokenize --cut-at-cursor) (commandline --current-token))"
