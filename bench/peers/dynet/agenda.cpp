// The models in DyNet with automatic batching, timed. Started by dynet_agenda.py with one file:
// lines `name number` up to `end`, then float32 parameters in the order of models.py, then the
// examples as int32: size, words, labels (trees breadth first, word -1 at inner nodes). Prints
// {"first_losses": [...], "steps": [[minibatch, seconds, loss, record, forward, backward,
// update]]}.
#include <dynet/dynet.h>
#include <dynet/expr.h>
#include <dynet/init.h>
#include <dynet/param-init.h>
#include <dynet/training.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using dynet::Expression;
using Floats = std::vector<float>;

struct Example {
  std::vector<std::int32_t> words, labels;
};

struct Input {
  std::map<std::string, double> settings;
  std::ifstream file;

  explicit Input(const char* path) : file(path, std::ios::binary) {
    std::string name;
    while (file >> name && name != "end") file >> settings[name];
    file.get();
    if (!file) throw std::runtime_error("the input file has no `end`");
  }
  int size(const char* name) const { return static_cast<int>(settings.at(name)); }

  template <class T>
  std::vector<T> read(std::size_t count) {
    std::vector<T> values(count);
    file.read(reinterpret_cast<char*>(values.data()), count * sizeof(T));
    if (!file) throw std::runtime_error("the input file ends early");
    return values;
  }
};

struct Model {
  bool tree;
  unsigned hidden;
  dynet::ParameterCollection all;
  dynet::LookupParameter embed;
  dynet::Parameter w, b_leaf, u, u_right, b, out, out_bias;
};

// Columns [first, first + columns) of row-major [rows, width] as DyNet's column-major matrix.
dynet::Parameter matrix(dynet::ParameterCollection& all, const Floats& values, unsigned rows,
                        unsigned width, unsigned first, unsigned columns) {
  Floats turned;
  for (unsigned c = 0; c < columns; ++c)
    for (unsigned r = 0; r < rows; ++r) turned.push_back(values[r * width + first + c]);
  dynet::Parameter p = all.add_parameters({rows, columns}, dynet::ParameterInitConst(0));
  p.set_value(turned);
  return p;
}

dynet::Parameter vector(dynet::ParameterCollection& all, const Floats& values) {
  dynet::Parameter p =
      all.add_parameters({static_cast<unsigned>(values.size())}, dynet::ParameterInitConst(0));
  p.set_value(values);
  return p;
}

void fill(Model& m, Input& in) {
  const unsigned v = in.size("vocabulary"), e = in.size("embed"), h = m.hidden;
  const unsigned classes = in.size("classes");
  m.embed = m.all.add_lookup_parameters(v, {e}, dynet::ParameterInitConst(0));
  for (unsigned word = 0; word < v; ++word) m.embed.initialize(word, in.read<float>(e));
  const unsigned gates = m.tree ? 3 : 4;
  m.w = matrix(m.all, in.read<float>(gates * h * e), gates * h, e, 0, e);
  if (m.tree) {
    m.b_leaf = vector(m.all, in.read<float>(3 * h));
    const Floats u = in.read<float>(10 * h * h);
    m.u = matrix(m.all, u, 5 * h, 2 * h, 0, h);
    m.u_right = matrix(m.all, u, 5 * h, 2 * h, h, h);
    m.b = vector(m.all, in.read<float>(5 * h));
  } else {
    m.u = matrix(m.all, in.read<float>(4 * h * h), 4 * h, h, 0, h);
    m.b = vector(m.all, in.read<float>(4 * h));
  }
  m.out = matrix(m.all, in.read<float>(classes * h), classes, h, 0, h);
  m.out_bias = vector(m.all, in.read<float>(classes));
}

struct State {
  Expression h, c;
};

// The graph of a minibatch. Instances batch only if they read the same parameter nodes, hence one
// set of these for all examples.
struct Recording {
  Model& m;
  dynet::ComputationGraph& g;
  Expression w = param(g, m.w), u = param(g, m.u), b = param(g, m.b);
  Expression out = param(g, m.out), out_bias = param(g, m.out_bias);
  Expression b_leaf = m.tree ? param(g, m.b_leaf) : Expression();
  Expression u_right = m.tree ? param(g, m.u_right) : Expression();
  std::vector<Expression> losses = {};

  void classify(const Expression& h, unsigned label) {
    losses.push_back(dynet::pickneglogsoftmax(dynet::affine_transform({out_bias, out, h}), label));
  }
  Expression word(std::int32_t id) { return lookup(g, m.embed, static_cast<unsigned>(id)); }
};

void record_tree(Recording& r, const Example& tree) {
  const unsigned d = r.m.hidden;
  std::vector<State> states(tree.words.size());
  // Breadth first, the last inner node has the last two nodes as children.
  std::size_t child = tree.words.size();
  for (std::size_t n = tree.words.size(); n-- > 0;) {
    State& s = states[n];
    if (tree.words[n] >= 0) {
      const Expression x = r.word(tree.words[n]);
      const Expression gates = dynet::affine_transform({r.b_leaf, r.w, x});
      const Expression io = logistic(pick_range(gates, 0, 2 * d));
      s.c = cmult(pick_range(io, 0, d), tanh(pick_range(gates, 2 * d, 3 * d)));
      s.h = cmult(pick_range(io, d, 2 * d), tanh(s.c));
    } else {
      child -= 2;
      const State &left = states[child], &right = states[child + 1];
      const Expression gates = dynet::affine_transform({r.b, r.u, left.h, r.u_right, right.h});
      const Expression iffo = logistic(pick_range(gates, 0, 4 * d));
      s.c = cmult(pick_range(iffo, 0, d), tanh(pick_range(gates, 4 * d, 5 * d))) +
            cmult(pick_range(iffo, d, 2 * d), left.c) +
            cmult(pick_range(iffo, 2 * d, 3 * d), right.c);
      s.h = cmult(pick_range(iffo, 3 * d, 4 * d), tanh(s.c));
    }
    r.classify(s.h, tree.labels[n]);
  }
}

void record_sequence(Recording& r, const Example& tokens) {
  const unsigned d = r.m.hidden;
  State s{zeros(r.g, {d}), zeros(r.g, {d})};
  for (std::size_t n = 0; n < tokens.words.size(); ++n) {
    const Expression x = r.word(tokens.words[n]);
    const Expression gates = dynet::affine_transform({r.b, r.w, x, r.u, s.h});
    const Expression ifo = logistic(pick_range(gates, 0, 3 * d));
    s.c = cmult(pick_range(ifo, 0, d), tanh(pick_range(gates, 3 * d, 4 * d))) +
          cmult(pick_range(ifo, d, 2 * d), s.c);
    s.h = cmult(pick_range(ifo, 2 * d, 3 * d), tanh(s.c));
    r.classify(s.h, tokens.labels[n]);
  }
}

double now() {
  using namespace std::chrono;
  return duration<double>(steady_clock::now().time_since_epoch()).count();
}

struct Step {
  std::size_t place;
  double seconds, loss, record, forward, backward, update;
};

// Runs minibatch `place` and, with a trainer, updates the parameters.
Step run_step(Model& m, const std::vector<Example>& examples, std::size_t place, std::size_t size,
              dynet::Trainer* trainer) {
  Step s{};
  s.place = place;
  const double begin = now();
  dynet::ComputationGraph g;
  Recording recording{m, g};
  for (std::size_t n = place * size; n < (place + 1) * size; ++n)
    m.tree ? record_tree(recording, examples[n]) : record_sequence(recording, examples[n]);
  const Expression loss = sum(recording.losses) / static_cast<float>(size);
  const double recorded = now();
  s.loss = as_scalar(g.forward(loss));
  const double forward = now();
  double backward = forward, updated = forward;
  if (trainer) {
    g.backward(loss);
    backward = now();
    trainer->update();
    updated = now();
  }
  s.record = recorded - begin;
  s.forward = forward - recorded;
  s.backward = backward - forward;
  s.update = updated - backward;
  s.seconds = now() - begin;
  return s;
}

std::unique_ptr<dynet::Trainer> make_trainer(const Input& in, Model& m) {
  if (!in.size("training")) return nullptr;
  const float lr = static_cast<float>(in.settings.at("lr"));
  std::unique_ptr<dynet::Trainer> trainer;
  if (in.size("adagrad"))
    trainer = std::make_unique<dynet::AdagradTrainer>(m.all, lr);
  else
    trainer = std::make_unique<dynet::SimpleSGDTrainer>(m.all, lr);
  trainer->clipping_enabled = false;
  return trainer;
}

void print(const std::vector<Step>& steps) {
  std::printf(" \"steps\": [");
  for (const Step& s : steps)
    std::printf("%s\n  [%zu, %.9f, %.9g, %.9f, %.9f, %.9f, %.9f]", &s == steps.data() ? "" : ",",
                s.place, s.seconds, s.loss, s.record, s.forward, s.backward, s.update);
  std::printf("]}\n");
}

void run(Input& in) {
  dynet::DynetParams params;
  params.random_seed = 1;
  params.autobatch = in.size("autobatch");
  params.mem_descriptor = std::to_string(in.size("megabytes"));
  dynet::initialize(params);

  Model m{in.size("tree") != 0, static_cast<unsigned>(in.size("hidden"))};
  fill(m, in);
  std::vector<Example> examples(in.size("examples"));
  for (Example& example : examples) {
    const std::size_t size = in.read<std::int32_t>(1)[0];
    example = {in.read<std::int32_t>(size), in.read<std::int32_t>(size)};
  }
  const std::size_t batch = in.size("batch"), batches = examples.size() / batch;
  const auto trainer = make_trainer(in, m);
  std::size_t place = 0;
  const auto next = [&] {
    const Step step = run_step(m, examples, place, batch, trainer.get());
    place = (place + 1) % batches;
    return step;
  };

  std::printf("{\"first_losses\": [");
  for (int n = 0; n < in.size("check_steps"); ++n)
    std::printf("%s%.9g", n ? ", " : "", next().loss);
  std::printf("],\n");
  std::vector<Step> steps;
  const double seconds = in.settings.at("seconds"), warmup = in.settings.at("warmup");
  place = 0;
  for (const double begin = now(); now() - begin < warmup;) next();
  place = 0;
  for (const double begin = now(); seconds > 0 && (now() - begin < seconds || steps.size() < 10);)
    steps.push_back(next());
  print(steps);
}

}  // namespace

int main(int count, char** arguments) {
  try {
    if (count != 2) throw std::runtime_error("expected one argument, the input file");
    Input in(arguments[1]);
    run(in);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "dynet_agenda: %s\n", error.what());
    return 1;
  }
}
