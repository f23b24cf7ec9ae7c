"""How a model and a method become programs: checked, planned, placed on devices and run.

`explainer(apply, method)` makes a `prepare.Prepare`, which checks the functions and their options
(`checks`, `signatures`) and takes them apart into structure and arrays (`callables`), and an
`execute.Executor`. A call of it, `explain(params, images, targets)`, then goes this way:

1. `Prepare` checks the arguments (`checks`, `targets`, `values`), knows the parameters of the last
   call again (`parameters`), and traces the model once to count its outputs (`model`). It returns a
   `Call`: a `program.Spec`, which says what is computed, and the arrays. Calls alike, of the same
   structure, shapes and dtypes, get the same `Spec`.
2. Once for each signature `model_checks` holds the model to what maps mean: its images and
   parameters reach the score, and no image depends on the batch (`batch_independence`).
3. `Executor` asks `parameters` where the batch is computed (`placement`) and for copies of the
   parameters there (`transfer`). Inside a trace it does not: the batch becomes a part of the user's
   program, and the walk goes on at step 6.
4. `BatchSize` says how many images, classes and points are evaluated at a time (`plan`). For calls
   of a new kind it compiles, and compares the program with the free memory (`memory`). Where the
   last call was alike, in the same place, its size and its program are taken, and 6 is passed over.
5. For each chunk of the rows (`chunks`), moved to its devices (`transfer`), the program runs. A
   program for one device is told so, and takes what lies in host memory there itself.
6. `programs.compiled(spec, schedule)` is that program, made once: `jax.jit` of `program.batch`,
   which is `vmap` of `rewrite.optimize` of `program.example`, which calls the method with a score
   and one image. XLA compiles it.
7. The chunks' results are put together (`chunks`) on the caller's mesh (`placement`). The engine
   raises what a device found in the arguments (`values`), warns of results that are not finite
   (`results`), and gives a dict of maps in the order of its methods.
"""
