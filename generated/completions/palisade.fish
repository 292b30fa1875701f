complete --keep-order --exclusive --command palisade --arguments "(_PALISADE_COMPLETE=fish palisade -- (commandline --current-process --tokenize --cut-at-cursor) (commandline --current-token))"
