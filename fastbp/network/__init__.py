"""A network as compiled code sees it: state, workspaces, blocks of arguments."""
