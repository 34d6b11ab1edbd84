#include "mtt/model/pickles.hpp"

#include <algorithm>
#include <cctype>
#include <cstring>
#include <map>
#include <memory>
#include <stdexcept>
#include <vector>

namespace mtt {

namespace {

constexpr size_t longest_pickle = size_t(256) << 20;
constexpr size_t deepest = 200;
constexpr size_t most_dimensions = 64;

struct Problem : std::runtime_error {
    using std::runtime_error::runtime_error;
};

void demand(bool condition, const char* what) {
    if (!condition) {
        throw Problem(what);
    }
}

/// Bytes of one number, by the name of the storage.
const std::map<std::string, uint64_t>& storages() {
    static const std::map<std::string, uint64_t> all = {
        {"ByteStorage", 1}, {"CharStorage", 1}, {"BoolStorage", 1}, {"ShortStorage", 2}, {"HalfStorage", 2},
        {"BFloat16Storage", 2}, {"IntStorage", 4}, {"FloatStorage", 4}, {"LongStorage", 8}, {"DoubleStorage", 8},
        {"ComplexFloatStorage", 8}, {"ComplexDoubleStorage", 16},
    };
    return all;
}

/// "Dict[str, Tensor]" and the like.
bool is_type(const std::string& text) {
    return text.size() < 4096 && std::all_of(text.begin(), text.end(), [](char letter) {
        return std::isalnum(uint8_t(letter)) != 0 || std::strchr("_.,[] ", letter) != nullptr;
    });
}

enum class Kind { none, boolean, integer, number, text, tuple, list, dict, call, storage_type, storage, tensor, object };

struct Value;
using Ref = std::shared_ptr<Value>;

struct Value {
    Kind kind = Kind::none;
    int64_t integer = 0;
    /// Of a text, or the name of what is called.
    std::string text;
    std::vector<Ref> items;
    size_t depth = 1;
    /// Bytes of a number and of the whole storage.
    uint64_t item_size = 0;
    uint64_t bytes = 0;
    /// It has been taken from the memo: nothing may be added to it any more, or it could come to hold itself.
    bool shared = false;
};

class Reader {
public:
    Reader(const std::string& bytes, const PickleRules& rules): bytes_(bytes), rules_(rules) {}
    void read();

private:
    template <class T>
    T take() {
        demand(sizeof(T) <= bytes_.size() - at_, "it ends too early");
        T out;
        std::memcpy(&out, bytes_.data() + at_, sizeof out);
        at_ += sizeof out;
        return out;
    }
    std::string take_text(uint64_t size);
    std::string take_line();
    void step(uint8_t code);
    void push(Kind kind, int64_t integer = 0, std::string text = "");
    Ref pop();
    std::vector<Ref> pop_to_mark();
    void push_tuple(std::vector<Ref> items);
    void add(Value& container, const std::vector<Ref>& items);
    void remember(uint64_t id);
    void recall(uint64_t id);
    void global(const std::string& module, const std::string& name);
    void call();
    void storage();
    void tensor(const Value& arguments);

    const std::string& bytes_;
    const PickleRules& rules_;
    size_t at_ = 0;
    std::vector<Ref> stack_;
    std::vector<size_t> marks_;
    std::vector<Ref> memo_;
};

void Reader::read() {
    demand(bytes_.size() <= longest_pickle, "it is larger than any model needs");
    demand(take<uint8_t>() == 0x80 && take<uint8_t>() == 2, "it is no pickle of protocol 2");
    for (uint8_t code = take<uint8_t>(); code != '.'; code = take<uint8_t>()) {
        step(code);
    }
    demand(at_ == bytes_.size(), "something comes after its end");
    demand(stack_.size() == 1 && marks_.empty(), "it does not end with one value");
}

std::string Reader::take_text(uint64_t size) {
    demand(size <= bytes_.size() - at_, "it ends too early");
    auto out = bytes_.substr(at_, size);
    at_ += size;
    return out;
}

std::string Reader::take_line() {
    const size_t end = bytes_.find('\n', at_);
    demand(end != std::string::npos && end - at_ < 4096, "a name in it has no end");
    auto out = bytes_.substr(at_, end - at_);
    at_ = end + 1;
    return out;
}

void Reader::push(Kind kind, int64_t integer, std::string text) {
    auto value = std::make_shared<Value>();
    value->kind = kind;
    value->integer = integer;
    value->text = std::move(text);
    stack_.push_back(std::move(value));
}

Ref Reader::pop() {
    demand(stack_.size() > (marks_.empty() ? 0 : marks_.back()), "it takes what is not there");
    auto out = std::move(stack_.back());
    stack_.pop_back();
    return out;
}

std::vector<Ref> Reader::pop_to_mark() {
    demand(!marks_.empty(), "it takes what is not there");
    const auto begin = stack_.begin() + std::ptrdiff_t(marks_.back());
    std::vector<Ref> out(begin, stack_.end());
    stack_.erase(begin, stack_.end());
    marks_.pop_back();
    return out;
}

void Reader::add(Value& container, const std::vector<Ref>& items) {
    for (const auto& item : items) {
        demand(item->kind != Kind::call && item->kind != Kind::storage_type && item->kind != Kind::storage,
               "what builds values is used as a value");
        container.items.push_back(item);
        container.depth = std::max(container.depth, item->depth + 1);
    }
    demand(container.depth <= deepest, "it is nested too deeply");
}

void Reader::push_tuple(std::vector<Ref> items) {
    // Arguments of what builds tensors are the only tuples that hold a storage or its type.
    push(Kind::tuple);
    auto& out = *stack_.back();
    for (auto& item : items) {
        demand(item->kind != Kind::call, "what builds values is used as a value");
        out.depth = std::max(out.depth, item->depth + 1);
        out.items.push_back(std::move(item));
    }
    demand(out.depth <= deepest, "it is nested too deeply");
}

void Reader::remember(uint64_t id) {
    demand(!stack_.empty() && id <= memo_.size(), "its memo has gaps");
    if (id == memo_.size()) {
        memo_.push_back(stack_.back());
    } else {
        memo_[id] = stack_.back();
    }
}

void Reader::recall(uint64_t id) {
    demand(id < memo_.size(), "it takes what is not there");
    memo_[id]->shared = true;
    stack_.push_back(memo_[id]);
}

void Reader::step(uint8_t code) {
    switch (code) {
        case 'N': push(Kind::none); return;
        case 0x88: push(Kind::boolean, 1); return;
        case 0x89: push(Kind::boolean, 0); return;
        case 'K': push(Kind::integer, take<uint8_t>()); return;
        case 'M': push(Kind::integer, take<uint16_t>()); return;
        case 'J': push(Kind::integer, take<int32_t>()); return;
        case 0x8a:
            demand(take<uint8_t>() == 8, "an integer in it has an unusual length");
            push(Kind::integer, take<int64_t>());
            return;
        case 'G': take<uint64_t>(); push(Kind::number); return;
        case 'X': push(Kind::text, 0, take_text(take<uint32_t>())); return;
        case ']': push(Kind::list); return;
        case '}': push(Kind::dict); return;
        case ')': push(Kind::tuple); return;
        case '(': marks_.push_back(stack_.size()); return;
        case 't': push_tuple(pop_to_mark()); return;
        case 0x85: push_tuple({pop()}); return;
        case 0x86: { auto b = pop(); auto a = pop(); push_tuple({a, b}); return; }
        case 0x87: { auto c = pop(); auto b = pop(); auto a = pop(); push_tuple({a, b, c}); return; }
        case 'e':
        case 'u': {
            const auto items = pop_to_mark();
            demand(stack_.size() > (marks_.empty() ? 0 : marks_.back()), "it takes what is not there");
            auto& container = *stack_.back();
            demand(container.kind == (code == 'e' ? Kind::list : Kind::dict), "it adds to what is no container");
            demand(!container.shared, "it adds to a container that is used already");
            demand(code == 'e' || items.size() % 2 == 0, "a key in it has no value");
            add(container, items);
            return;
        }
        case 'q': remember(take<uint8_t>()); return;
        case 'r': remember(take<uint32_t>()); return;
        case 'h': recall(take<uint8_t>()); return;
        case 'j': recall(take<uint32_t>()); return;
        case 'c': {
            const auto module = take_line();
            global(module, take_line());
            return;
        }
        case 0x81: {
            const auto arguments = pop();
            demand(arguments->kind == Kind::tuple && arguments->items.empty(), "an object in it has arguments");
            demand(!stack_.empty() && stack_.back()->kind == Kind::call && stack_.back()->integer == 1,
                   "an object in it has no class");
            return;
        }
        case 'b':
        case 'R': call(); return;
        case 'Q': storage(); return;
        default: throw Problem("it holds an instruction that TorchScript does not write");
    }
}

/// A name is what is called next (integer 1: a class), or the type of a storage.
void Reader::global(const std::string& module, const std::string& name) {
    static const std::vector<std::string> builders = {
        "torch.jit._pickle.restore_type_tag", "torch.jit._pickle.build_intlist", "torch.jit._pickle.build_tensorlist",
        "torch.jit._pickle.build_doublelist", "torch.jit._pickle.build_boollist", "collections.OrderedDict",
        "torch._utils._rebuild_tensor_v2", "torch.device", "builtins.complex",
    };
    const std::string full = module + "." + name;
    if (module == "torch" && storages().count(name) != 0) {
        push(Kind::storage_type, 0, name);
        stack_.back()->item_size = storages().at(name);
        return;
    }
    if (std::find(builders.begin(), builders.end(), full) != builders.end()) {
        push(Kind::call, 0, full);
        return;
    }
    if (module.compare(0, 9, "__torch__") != 0 || !rules_.allows_class(full)) {
        throw Problem("it builds '" + full.substr(0, 200) + "'");
    }
    push(Kind::call, 1, full);
}

void Reader::call() {
    const auto argument = pop();
    const auto function = pop();
    demand(function->kind == Kind::call, "it calls what is no function");
    const auto& items = argument->items;
    if (function->integer == 1) {
        push(Kind::object);
        add(*stack_.back(), {argument});
        return;
    }
    demand(argument->kind == Kind::tuple, "arguments in it are no tuple");
    const auto& name = function->text;
    if (name == "torch._utils._rebuild_tensor_v2") {
        tensor(*argument);
    } else if (name == "collections.OrderedDict") {
        push(Kind::none);
    } else if (name == "torch.device") {
        demand(items.size() == 1 && items[0]->kind == Kind::text, "a device in it has no name");
        push(Kind::object);
    } else if (name == "builtins.complex") {
        demand(items.size() == 2 && items[0]->kind == Kind::number && items[1]->kind == Kind::number,
               "a complex number in it has no two parts");
        push(Kind::number);
    } else {
        const bool tagged = name == "torch.jit._pickle.restore_type_tag";
        demand(items.size() == (tagged ? 2 : 1), "a list in it has other arguments");
        demand(items[0]->kind == Kind::list || (tagged && items[0]->kind == Kind::dict), "a list in it is none");
        demand(!tagged || (items[1]->kind == Kind::text && is_type(items[1]->text)), "the type of a list in it is none");
        const Kind wanted = name.find("int") != std::string::npos ? Kind::integer
            : name.find("double") != std::string::npos ? Kind::number
            : name.find("bool") != std::string::npos ? Kind::boolean : Kind::tensor;
        for (const auto& item : items[0]->items) {
            demand(tagged || item->kind == wanted, "a list in it holds another type than it says");
        }
        stack_.push_back(items[0]);
    }
}

/// ("storage", type, key, device, count)
void Reader::storage() {
    const auto argument = pop();
    const auto& items = argument->items;
    demand(argument->kind == Kind::tuple && items.size() == 5 && items[0]->kind == Kind::text &&
               items[0]->text == "storage" && items[1]->kind == Kind::storage_type && items[2]->kind == Kind::text &&
               items[3]->kind == Kind::text && items[4]->kind == Kind::integer,
           "a storage in it is described in another way");
    demand(!rules_.tensors.empty(), "it holds a tensor");
    const auto& key = items[2]->text;
    const bool plain = !key.empty() && key.size() < 100 && std::all_of(key.begin(), key.end(), [](char letter) {
        return (letter >= '0' && letter <= '9') || (letter >= 'a' && letter <= 'z') || letter == '_';
    });
    demand(plain, "a storage in it has an unusual name");
    const int64_t count = items[4]->integer;
    demand(count >= 0 && count < (int64_t(1) << 56), "a storage in it has an impossible size");
    const uint64_t wanted = uint64_t(count) * items[1]->item_size;
    if (count > 0) {
        const auto size = rules_.record_size(rules_.tensors + key);
        demand(size.has_value() && *size >= wanted, "a storage in it is larger than its record");
    }
    push(Kind::storage);
    stack_.back()->item_size = items[1]->item_size;
    stack_.back()->bytes = wanted;
}

/// (storage, offset, sizes, strides, requires_grad, hooks)
void Reader::tensor(const Value& arguments) {
    const auto& items = arguments.items;
    demand(items.size() == 6 && items[0]->kind == Kind::storage && items[1]->kind == Kind::integer &&
               items[2]->kind == Kind::tuple && items[3]->kind == Kind::tuple && items[4]->kind == Kind::boolean,
           "a tensor in it is described in another way");
    const auto& sizes = items[2]->items;
    const auto& strides = items[3]->items;
    demand(sizes.size() == strides.size() && sizes.size() <= most_dimensions, "a tensor in it has impossible dimensions");
    constexpr auto most = int64_t(1) << 56;
    demand(items[1]->integer >= 0 && items[1]->integer < most, "a tensor in it begins outside of its memory");
    auto last = __int128(items[1]->integer);
    __int128 count = 1;
    for (size_t k = 0; k < sizes.size(); ++k) {
        demand(sizes[k]->kind == Kind::integer && strides[k]->kind == Kind::integer, "a size in it is no number");
        const int64_t size = sizes[k]->integer;
        const int64_t stride = strides[k]->integer;
        demand(size >= 0 && size < most && stride >= 0 && stride < most, "a tensor in it has an impossible size");
        count *= size;
        demand(count < most, "a tensor in it has an impossible size");
        last += size > 0 ? __int128(size - 1) * stride : 0;
        demand(last < __int128(most) * most, "a tensor in it has an impossible size");
    }
    const auto there = __int128(items[0]->bytes);
    demand(count == 0 || (last + 1) * __int128(items[0]->item_size) <= there, "a tensor in it reaches beyond its memory");
    push(Kind::tensor);
}

}  // namespace

std::string pickle_problem(const std::string& bytes, const PickleRules& rules) {
    try {
        Reader(bytes, rules).read();
        return "";
    } catch (const Problem& problem) {
        return problem.what();
    }
}

}  // namespace mtt
