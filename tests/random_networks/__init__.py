"""Networks drawn at random, every method, against plain JAX: a differential fuzz.

    python -m tests.random_networks --count N [--seed 0] [--start 0]

Network K of a seed is drawn from `(seed, K)` alone: an input of one to three spatial axes in any
layout, a few layers (`spatial`, `pointwise`, `mixing`, `control`), a head (`heads`), and two images
(noise, black borders, a bright spot, flat ones). Every sixth has a loop that JAX has no gradient
of, and is asked what needs none. Methods come round equally (`questions`), with options, targets,
objective and batch size drawn too; in most networks rewrites are made where they do not pay
(`forced`), as in large networks and on other platforms.

Compared are the logits and the maps: `rewrite=True`, `rewrite=False`, and plain JAX (`oracles`), a
form of each method that shares no code with jaxsal and evaluates one point at a time. Only a CAM of
the last or a numbered layer has none: it is held against the method of a score by hand. Where one
is finite the others must be. The tolerance is 1e-5 of the map's maximum at highest precision, 2e-2
where a network rounds to bfloat16 or float16.

A network may be ill-conditioned. Where a difference is larger, plain JAX is run again with inputs
and parameters moved by 1e-6 of themselves (rounded networks: 4e-3), six times, and operation by
operation; a difference of up to four times what that moves the result by is no fault. Zeros and
exact ties stay what they are under it, so that a wrong subgradient there is not excused. Plain JAX
may differ from itself: compiled point by point, compiled as one batch, and operation by operation.
Where it does, each form is right that equals one of the three, and the form that is not rewritten
if it does so operation by operation. The summary counts both kinds of networks, the first with the
largest difference and the worst ratio to that bound.

Prints a line for each wrong network, with the command that shows it alone, and a summary as JSON at
the end; the exit code is 1 where one is wrong. Compilation is what a network costs: unless
XLA_FLAGS is set, LLVM optimises nothing (`--xla_backend_optimization_level=0`). Plain JAX's own
gradient of a global maximum may be NaN then: the maximum and its operands are computed twice, are
rounded otherwise, and none of them equals it any more. So what is wrong, or is NaN in plain JAX
where nothing in the network makes one, is examined again in a process of XLA's own settings, and
what is right there is counted apart. Two to four seconds of CPU a network; compiled programs are
dropped after every 25.
"""
