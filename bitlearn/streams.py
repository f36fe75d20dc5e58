"""The streams of random bits, by purpose: no two draw from one, whatever the seed and the step.

A stream is the third number of a `bitlearn.rng.Key`. Layers draw their first weights from the streams from 0 on, by
their number in the network, and two streams each of their rounding from `ROUNDING` on. The others are ASCII, far from
small numbers.
"""

#: The order of examples in an epoch, and what augmentation does to a step's images: "BATC", "AUGM".
BATCHES, AUGMENTATION = 0x42415443, 0x4155474D
#: Rounding of gradients: "ROUN".
ROUNDING = 0x524F554E
#: Votes of workers on a gradient's sign that are even: "VOTE".
VOTES = 0x564F5445
#: Rounding of weights that are kept in a few bits, one stream a parameter: "UPDT".
UPDATES = 0x55504454
#: Which examples are held out, and the order of a scenario's classes: "SPLT", "CLSS".
HOLDOUT, CLASS_ORDER = 0x53504C54, 0x434C5353
#: Of scenarios: which task an example is of, where pixels go, angles, and what comes in a stream, and of which concept:
#: "INST", "BLUR", "PIXL", "ANGL", "STRM", "DRFT".
INSTANCES, BLURRY, PIXELS, ANGLES = 0x494E5354, 0x424C5552, 0x5049584C, 0x414E474C
STREAM_ORDER, DRIFT = 0x5354524D, 0x44524654
#: Where the features of a learner without a network look: "FEAT".
FEATURES = 0x46454154
#: Inputs and labels on which memory is measured: "CODE", "LABL".
RANDOM_CODES, RANDOM_LABELS = 0x434F4445, 0x4C41424C
#: Of continual learning: the order of examples, the examples that a step replays, and those that the memory keeps:
#: "CBAT", "CSTP", "RSVR".
TASK_BATCHES, REPLAYED, RESERVOIR = 0x43424154, 0x43535450, 0x52535652
#: The examples that a step of a stream replays: "SREP".
STREAM_REPLAYED = 0x53524550
#: Which classes a replay memory favours where its places do not go round: "CPRI".
CLASS_PRIORITY = 0x43505249
#: What a replay memory leaves out that has to shrink: "SHRK".
SHRINKING = 0x5348524B
#: Of a look at a task's gradients: the order of its examples, and the labels that are drawn for them: "FORD", "FLAB".
FISHER_ORDER, FISHER_LABELS = 0x464F5244, 0x464C4142
#: The examples of a self-test in C: "TEST".
SELF_TEST = 0x54455354
#: The examples that a task's bases are found from: "REPR".
REPRESENTATIONS = 0x52455052
#: Which words of channels a task trains where they are drawn: "CHNL".
CHANNELS = 0x43484E4C
#: Of competing units: the noise of a step, one stream a layer; and what scores of weights begin with, one a layer:
#: "COMP", "SCOR".
COMPETITION, SCORES = 0x434F4D50, 0x53434F52
